package walk

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Doc is a parsed document: its steps, in order.
type Doc struct {
	// Name is the file's name, for messages.
	Name  string
	Steps []Step
	// Varies are words of the document that match other words in the run.
	Varies []string
}

// Step is one command or one file.
type Step struct {
	// Line is its line in the document, counted from 1.
	Line int
	// Text is the command, or the content of the file if File is set.
	Text string
	File string
	// Want is the output in the document. If it is empty, any output matches.
	Want []string
	// Until repeats the command until its output matches Want.
	Until bool
	// Unordered allows sibling lines in any order.
	Unordered bool
}

var (
	fence    = regexp.MustCompile("^```+ *(.*)$")
	varies   = regexp.MustCompile(`^<!-- walk: varies (.*) -->$`)
	heredoc  = regexp.MustCompile(`<<-?\s*(['"]?)(\w+)['"]?`)
	fileName = regexp.MustCompile(`^file=([\w.-]+)$`)
)

// Parse reads a document. It errs if a block has no end or is malformed.
func Parse(name, text string) (Doc, error) {
	d := Doc{Name: name}
	lines := strings.Split(text, "\n")
	for i := 0; i < len(lines); i++ {
		if m := varies.FindStringSubmatch(lines[i]); m != nil {
			d.Varies = append(d.Varies, strings.Fields(m[1])...)
			continue
		}
		m := fence.FindStringSubmatch(lines[i])
		if m == nil {
			continue
		}
		length := slices.IndexFunc(lines[i+1:], func(l string) bool { return strings.HasPrefix(l, "```") })
		if length < 0 {
			return Doc{}, fmt.Errorf("%s:%d: the block has no end", name, i+1)
		}
		steps, err := block(strings.Fields(m[1]), lines[i+1:i+1+length], i+2)
		if err != nil {
			return Doc{}, fmt.Errorf("%s:%w", name, err)
		}
		d.Steps = append(d.Steps, steps...)
		i += length + 1
	}
	return d, nil
}

// block returns the steps of one fenced block. first is the line number of its content.
func block(info, lines []string, first int) ([]Step, error) {
	if len(info) == 0 {
		return nil, nil
	}
	if info[0] != "console" {
		return file(info[1:], lines, first), nil
	}
	mode := Step{}
	for _, word := range info[1:] {
		switch word {
		case "until":
			mode.Until = true
		case "unordered":
			mode.Unordered = true
		default:
			return nil, fmt.Errorf("%d: a console block cannot be %q: only until and unordered", first-1, word)
		}
	}
	return transcript(mode, lines, first)
}

func file(info, lines []string, first int) []Step {
	for _, word := range info {
		if m := fileName.FindStringSubmatch(word); m != nil {
			return []Step{{Line: first, File: m[1], Text: strings.Join(lines, "\n") + "\n"}}
		}
	}
	return nil
}

func transcript(mode Step, lines []string, first int) ([]Step, error) {
	var steps []Step
	for i := 0; i < len(lines); {
		if !prompt(lines[i]) {
			if len(steps) == 0 {
				return nil, fmt.Errorf("%d: output before the first command: %q", first+i, lines[i])
			}
			last := &steps[len(steps)-1]
			last.Want = append(last.Want, lines[i])
			i++
			continue
		}
		length := command(lines[i:])
		s := mode
		s.Line = first + i
		s.Text = strings.Join(lines[i:i+length], "\n")[2:]
		steps = append(steps, s)
		i += length
	}
	return steps, nil
}

func prompt(line string) bool { return strings.HasPrefix(line, "# ") || strings.HasPrefix(line, "$ ") }

// command returns the number of lines of the command at the beginning of lines.
func command(lines []string) int {
	end := ""
	for i, line := range lines {
		switch {
		case end != "":
			if strings.TrimLeft(line, "\t") == end {
				return i + 1
			}
		case strings.HasSuffix(line, `\`):
		default:
			m := heredoc.FindStringSubmatch(line)
			if m == nil {
				return i + 1
			}
			end = m[2]
		}
	}
	return len(lines)
}
