// Package test runs the real urlsession binary against real servers: nginx, and the origin of package urlsessiontest.
//
// Each file of testdata is a script (github.com/rogpeppe/go-internal/testscript says how they read) with the commands of
// this package: run, start, signal and finish for the binary; origin, scene, nginx and proxy for what it talks to;
// requests, sent, matches, waitfor, peak and the like for what is asked of the outcome. It is a module of its own, so that
// what it needs never reaches those who use urlsession.
package test
