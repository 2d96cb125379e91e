// Package down knows what a lab could leave behind on the machine. It ends the
// lab that runs, so it comes after all other tests.
package down
