package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
)

// warnings writes what a library warns of as the command writes its errors, a line each. It is a [slog.Handler].
type warnings struct{ out io.Writer }

func (w warnings) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelWarn }

func (w warnings) Handle(_ context.Context, r slog.Record) error {
	text := "urlsession: " + r.Message
	r.Attrs(func(a slog.Attr) bool {
		text += " " + a.String()
		return true
	})
	_, err := fmt.Fprintln(w.out, oneLine(text))
	return err
}

func (w warnings) WithAttrs([]slog.Attr) slog.Handler { return w }
func (w warnings) WithGroup(string) slog.Handler      { return w }
