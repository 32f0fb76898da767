//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/pprof"
	"strings"
)

// profileVariable is that of the command as it is built with the tag profile: where its CPU profile goes.
const profileVariable = "URLSESSION_CPUPROFILE"

// profile is where the CPU of urlsession's processes goes in a scenario, all of them together, in a run that is not timed.
type profile struct {
	subject
	Total string        `json:"total"` // of the samples: user and system time
	Top   []profileLine `json:"top"`
}

// profileLine is a function: what it takes itself, and with what it calls, as pprof writes it.
type profileLine struct {
	Flat     string `json:"flat"`
	Cum      string `json:"cum"`
	Function string `json:"function"`
}

// below are the functions that only hand on to the kernel: what they take is told of their callers.
const below = `^(internal/runtime/syscall|syscall|internal/poll|golang\.org/x/sys)[./]`

// profile runs urlsession's side of a scenario once. The lab's binary is one that is built for it.
func (l *lab) profile(ctx context.Context, s scenario, o options) (*profile, error) {
	size, count, _ := o.of(s)
	p := &profile{subject: newSubject(s, size, count)}
	fmt.Fprintf(os.Stderr, "%s: %s, %s, its profile\n", s.name, s.work, amount(size, count))
	defer l.empty("www", "received", "out", profiles)
	if err := errors.Join(l.empty(profiles), l.renew(s)); err != nil {
		return nil, err
	}
	if err := l.ours(ctx, s, size, count); err != nil {
		return nil, err
	}
	files, err := filepath.Glob(l.path(profiles, "*"))
	if err != nil {
		return nil, err
	}
	top := exec.CommandContext(ctx, "go", append([]string{"tool", "pprof", "-top", "-nodecount=10", "-hide=" + below}, files...)...)
	text, err := top.Output()
	if err == nil {
		p.Total, p.Top, err = parseTop(string(text))
	}
	if err != nil {
		return nil, fmt.Errorf("read %d profiles: %w", len(files), err)
	}
	return p, nil
}

// ours runs what of a scenario is urlsession's, once.
func (l *lab) ours(ctx context.Context, s scenario, size int64, count int) error {
	if s.observe != nil {
		_, err := s.observe(ctx, l, size, count)
		return err
	}
	w, err := s.prepare(ctx, l, size, count)
	if w.close != nil {
		defer w.close()
	}
	if err == nil {
		_, err = l.once(ctx, s, w, w.ours)
	}
	return err
}

// shortNames cut what every function of ours begins with, and what pprof adds.
var shortNames = strings.NewReplacer("github.com/urlsession/urlsession/", "", "github.com/urlsession/urlsession.", "urlsession.", " (inline)", "")

// parseTop reads what go tool pprof -top prints: some lines of the whole, then a function a line.
func parseTop(text string) (total string, top []profileLine, err error) {
	table := false
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		switch {
		case table && len(fields) >= 6 && fields[0] != "0": // flat flat% sum% cum cum% function
			top = append(top, profileLine{fields[1], fields[4], shortNames.Replace(strings.Join(fields[5:], " "))})
		case len(fields) > 0 && fields[0] == "flat":
			table = true
		default:
			if _, after, ok := strings.Cut(line, "Total samples = "); ok {
				total, _, _ = strings.Cut(after, " ")
				total = strings.TrimSpace(total)
			}
		}
	}
	if total == "" || len(top) == 0 {
		return "", nil, fmt.Errorf("pprof tells of no samples; a larger -size or -count has some:\n%s", clip([]byte(text), 500))
	}
	return total, top, nil
}

// profiled takes the profile of this process until what it returns is called, where the environment asks for it.
func profiled() (end func(), err error) {
	path := os.Getenv(profileVariable)
	if path == "" {
		return func() {}, nil
	}
	file, err := os.Create(fmt.Sprintf("%s.%d", path, os.Getpid()))
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(file); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return func() {
		pprof.StopCPUProfile()
		file.Close()
	}, nil
}

// textOfProfiles is a part a profile, in Markdown.
func textOfProfiles(all []*profile) string {
	var b strings.Builder
	for _, p := range all {
		fmt.Fprintf(&b, "### %s\n\n%s, of %s (%s)\n\n| itself | with what it calls | function |\n| ---: | ---: | --- |\n", p.Scenario, amount(p.Size, p.Count), p.Total, p.on())
		for _, line := range p.Top {
			fmt.Fprintf(&b, "| %s | %s | `%s` |\n", line.Flat, line.Cum, line.Function)
		}
		if note := profileNotes[p.Scenario]; note != "" {
			fmt.Fprintf(&b, "\nWhat was done about it: %s\n", note)
		}
		b.WriteByte('\n')
	}
	return b.String()
}
