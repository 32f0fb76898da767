package urlsessiontest

import "strings"

// Raw sends these bytes in place of the reply, then closes. Points on the wire
// apply to them.
func Raw(reply string) Step {
	return func(r *Reply) {
		r.Raw = strings.NewReader(reply)
		CloseAt(AtEnd())(r)
	}
}

// Garbage sends n bytes that are not HTTP, the same at each call, then closes.
func Garbage(n int64) Step {
	return func(r *Reply) {
		r.Raw = Body{Seed: 0xbad, Size: n}.Reader()
		CloseAt(AtEnd())(r)
	}
}

// HTTP09 sends the body without status line and header, then closes.
func HTTP09() Step {
	return func(r *Reply) {
		r.headless = true
		CloseAt(AtEnd())(r)
	}
}

// StatusLine replaces the status line, as it stands, and keeps the rest:
// StatusLine("HTTP/1.1 2OO OK"), StatusLine("ICY 200 OK").
func StatusLine(line string) Step { return func(r *Reply) { r.StatusLine = line } }

// HeaderLine adds a line to the header as it stands, be it no field at all:
// HeaderLine("no colon"), HeaderLine("X: a\x00b").
func HeaderLine(line string) Step {
	return func(r *Reply) { r.Lines = append(r.Lines, line) }
}
