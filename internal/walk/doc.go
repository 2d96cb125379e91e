// Package walk knows how to do what a page of documentation says: it reads the
// fenced blocks of a Markdown file, runs the commands in one shell, and compares
// what they print with what the page says. It knows nothing of what the
// commands are about.
//
// Two kinds of block matter, all others are for the reader only:
//
//	```yaml file=net2.yaml      is written as a file into the shell's directory
//	```console                  is a transcript
//
// In a transcript a line that begins with "# " or "$ " is a command; it goes on
// after a backslash at its end and through here-documents. The lines that follow
// are its output; a command without any may print what it likes. It must end
// with status 0. Words after "console" change that for the whole block:
//
//	until        each command is repeated until it prints what the page says
//	unordered    sibling lines (those of equal indentation under the same line)
//	             may come in any order
//
// A page shows one run and the next run differs, so:
//
//   - a line of only "..." stands for any lines, "..." in a line for any text;
//   - UUIDs, MAC addresses, 32-digit ids and generated pod names of the page stand
//     for those of the run: always the same one for the same one. Commands and
//     files are translated likewise, so that a page can show the ids of its
//     author's run. <!-- walk: varies WORD ... --> makes other words such;
//   - durations, ages and points in time match any other;
//   - the width of gaps and rules in tables does not matter.
package walk
