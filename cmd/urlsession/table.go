package main

import (
	"io"
	"strings"
	"unicode/utf8"
)

// table prints rows whose columns stand below each other. It holds a screenful at a time, so that any number of rows takes
// the same memory: a column may get wider on the way.
type table struct {
	out    io.Writer
	widths []int
	rows   [][]string
}

// tableRows is how many rows are held before they are printed.
const tableRows = 256

func newTable(out io.Writer, head ...string) *table {
	return &table{out: out, rows: [][]string{head}}
}

// add adds a row. Its cells may come from elsewhere: none commands the terminal.
func (t *table) add(cells ...string) error {
	for i, c := range cells {
		cells[i] = oneLine(c)
	}
	t.rows = append(t.rows, cells)
	if len(t.rows) < tableRows {
		return nil
	}
	return t.flush()
}

// flush prints the rows that are held.
func (t *table) flush() error {
	for _, row := range t.rows {
		for i, c := range row {
			if i == len(t.widths) {
				t.widths = append(t.widths, 0)
			}
			t.widths[i] = max(t.widths[i], utf8.RuneCountInString(c))
		}
	}
	var b strings.Builder
	for _, row := range t.rows {
		for i, c := range row {
			b.WriteString(c)
			if i < len(row)-1 {
				b.WriteString(strings.Repeat(" ", t.widths[i]-utf8.RuneCountInString(c)+2))
			}
		}
		b.WriteByte('\n')
	}
	t.rows = t.rows[:0]
	_, err := io.WriteString(t.out, b.String())
	return writeError(err)
}

// card prints one thing's properties, a line each, its names below each other. A property without a value has no line.
type card struct {
	out io.Writer
	b   strings.Builder
}

func (c *card) add(name, value string) {
	if value != "" {
		c.b.WriteString(name + strings.Repeat(" ", max(1, 13-len(name))) + oneLine(value) + "\n")
	}
}

func (c *card) print() error {
	_, err := io.WriteString(c.out, c.b.String())
	return writeError(err)
}
