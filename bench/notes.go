//go:build linux

package main

// profileNotes say what was done about what a scenario's profile shows. They are kept by hand: a profile that is taken anew keeps its
// note.
var profileNotes = map[string]string{}
