package reach

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/rogpeppe/go-internal/txtar"
)

// Case is a World with policies and the expected reachability.
type Case struct {
	Doc   string
	World World
	Rows  []Row
}

// Row says whether traffic passes from one endpoint to another.
type Row struct {
	From, To string
	// Protocol and Port have the same meaning as in Flow.
	Protocol string
	Port     int
	Pass     bool
}

func (r Row) String() string {
	return fmt.Sprintf("%s -> %s %s/%d", r.From, r.To, strings.ToUpper(r.Protocol), r.Port)
}

// ReadCase reads a case and adds it to a world. The text is a txtar archive. File
// "policy.yaml" has objects to add to the world; "$IP(ns/name)" in it stands for
// the address of that endpoint. File "reach" has lines such as
//
//	yes a/client,out1 -> a/web TCP/80,UDP/53
//	no  *             -> b/db  TCP/80
//
// in which * stands for all pods and all machines outside of the cluster. If
// several lines have the same endpoints and port, the last one applies. It errs
// if a file or a line is invalid.
func ReadCase(world World, text []byte) (Case, error) {
	a := txtar.Parse(text)
	c := Case{Doc: strings.TrimSpace(string(a.Comment)), World: world}
	for _, f := range a.Files {
		var err error
		switch f.Name {
		case "policy.yaml":
			err = c.add(string(f.Data))
		case "reach":
			err = c.rows(string(f.Data))
		default:
			err = fmt.Errorf("not a file of a case")
		}
		if err != nil {
			return c, fmt.Errorf("%s: %w", f.Name, err)
		}
	}
	return c, nil
}

var address = regexp.MustCompile(`\$IP\(([^)]*)\)`)

func (c *Case) add(text string) error {
	var bad error
	text = address.ReplaceAllStringFunc(text, func(m string) string {
		a, err := c.World.Addr(address.FindStringSubmatch(m)[1])
		if err != nil {
			bad = err
		}
		return a.String()
	})
	if bad != nil {
		return bad
	}
	return c.World.Add(text)
}

func (c *Case) rows(text string) error {
	at := map[string]int{}
	for line := range strings.Lines(text) {
		if strings.TrimSpace(line) == "" || strings.HasPrefix(line, "#") {
			continue
		}
		rows, err := c.line(strings.Fields(line))
		if err != nil {
			return fmt.Errorf("%s: %w", strings.TrimSpace(line), err)
		}
		for _, r := range rows {
			i, known := at[r.String()]
			if !known {
				i = len(c.Rows)
				at[r.String()] = i
				c.Rows = append(c.Rows, r)
			}
			c.Rows[i] = r
		}
	}
	return nil
}

// line parses "yes|no FROM,... -> TO,... PROTOCOL/PORT,...".
func (c *Case) line(words []string) ([]Row, error) {
	if len(words) != 5 || words[2] != "->" || words[0] != "yes" && words[0] != "no" {
		return nil, fmt.Errorf("is not yes|no FROM -> TO PROTOCOL/PORT")
	}
	var out []Row
	for _, from := range c.names(words[1]) {
		for _, to := range c.names(words[3]) {
			for port := range strings.SplitSeq(words[4], ",") {
				r := Row{From: from, To: to, Pass: words[0] == "yes"}
				if err := c.check(&r, port); err != nil {
					return nil, err
				}
				if from != to {
					out = append(out, r)
				}
			}
		}
	}
	return out, nil
}

func (c *Case) check(r *Row, port string) error {
	protocol, number, _ := strings.Cut(port, "/")
	r.Protocol = strings.ToLower(protocol)
	if number != "" {
		var err error
		if r.Port, err = strconv.Atoi(number); err != nil {
			return err
		}
	}
	_, err := c.Flow(*r)
	return err
}

// names expands a list of endpoints.
func (c *Case) names(list string) []string {
	if list != "*" {
		return strings.Split(list, ",")
	}
	var out []string
	for _, p := range c.World.Pods {
		out = append(out, p.Namespace+"/"+p.Name)
	}
	for _, o := range c.World.Outside {
		out = append(out, o.Name)
	}
	return out
}

// Flow returns the row's flow. It errs if an endpoint does not exist.
func (c *Case) Flow(r Row) (Flow, error) {
	from, err := c.World.Addr(r.From)
	if err != nil {
		return Flow{}, err
	}
	to, err := c.World.Addr(r.To)
	return Flow{From: from, To: to, Protocol: r.Protocol, Port: r.Port}, err
}
