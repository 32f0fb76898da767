// Package daemon runs background sessions: it goes on with their tasks when the apps that made them are gone, and survives
// its own death by kill -9.
package daemon
