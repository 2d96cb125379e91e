// Package walk tests a document: it reads the fenced blocks of a Markdown file, runs the
// commands in one shell, and compares their output with the document's. It does not know
// what the commands do. Read run.go first.
//
// Two kinds of blocks are used. All others are for the reader only:
//
//	```yaml file=net2.yaml      is written to a file in the shell's directory
//	```console                  is a transcript
//
// In a transcript, a line that begins with "# " or "$ " is a command. A backslash at its end
// or a here-document continues it on the next lines. The lines after the command are its
// output. A command without output in the document may print anything. Every command must
// end with status 0. Words after "console" change the rules for the whole block:
//
//	until        each command is repeated until its output matches
//	unordered    sibling lines (those of equal indentation under the same line)
//	             may come in any order
//
// The document shows one run and other runs differ. Therefore:
//
//   - a line of only "..." matches any lines, and "..." within a line any text;
//   - UUIDs, MAC addresses, 32-digit ids and generated pod names match others of the same
//     kind. The same word of the document always matches the same word of the run. Walk
//     also replaces these words in commands and files, so that a document can show the ids
//     of its author's run. <!-- walk: varies WORD ... --> adds further words;
//   - durations, ages and timestamps match any other;
//   - the widths of spaces and rules in tables are ignored.
package walk
