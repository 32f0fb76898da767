package main

import (
	"context"
	"iter"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/urlsession/urlsession"
)

// listenFlags are those of events.
type listenFlags struct {
	after             value[uint64]
	follow, ack, json bool
}

func newEvents() *cobra.Command {
	f := new(listenFlags)
	f.after = value[uint64]{kind: "sequence", parse: func(s string) (uint64, error) {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			return 0, usagef("a sequence is an event's number, such as 17; 0 is before the first")
		}
		return n, nil
	}}
	cmd := &cobra.Command{
		Use:   "events ID [--after SEQ] [--follow] [--ack]",
		Short: "Print a background session's events, one JSON object a line",
		Long: `Print a background session's events, one JSON object a line: those after the last that was acknowledged, and then
sessioneventscompleted. With --follow those that come are printed too, until the session is invalidated.

It observes, and acknowledges nothing. With --ack it is the session's owner, as an app is: an event is acknowledged when it
has been printed, and the daemon may forget it. There is one owner at a time.`,
		Example: `  urlsession events films --follow | jq -r 'select(.event == "downloadcompleted").path'`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if f.ack && f.after.given() {
				return usagef("--after and --ack contradict each other: an owner begins after the last event that was acknowledged")
			}
			return withSession(cmd, args[0], func(ctx context.Context, s *urlsession.Session) error {
				return f.print(ctx, s, newEventWriter(cmd.OutOrStdout()))
			})
		},
	}
	p := cmd.Flags()
	p.SortFlags = false
	p.Var(&f.after, "after", "begin after event number `SEQ`; 0 is all that are kept")
	p.BoolVarP(&f.follow, "follow", "f", false, "go on with the events that come")
	p.BoolVar(&f.ack, "ack", false, "acknowledge each event when it has been printed")
	p.BoolVar(&f.json, "json", true, "print one JSON object a line, which is the only form there is")
	return cmd
}

func (f *listenFlags) print(ctx context.Context, s *urlsession.Session, to *eventWriter) error {
	for ev, err := range f.events(ctx, s) {
		if err != nil {
			return err
		}
		if err := to.line(ev); err != nil {
			return writeError(err) // it comes again: to ask for the next would acknowledge it
		}
		if _, stored := ev.(urlsession.EventsCompleted); stored && !f.follow {
			return nil
		}
	}
	return nil
}

func (f *listenFlags) events(ctx context.Context, s *urlsession.Session) iter.Seq2[urlsession.Event, error] {
	switch {
	case f.ack:
		return s.Events(ctx)
	case f.after.given():
		return s.Observe(ctx, &f.after.v)
	}
	return s.Observe(ctx, nil)
}
