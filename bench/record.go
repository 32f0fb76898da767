//go:build linux

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// The parts of docs/benchmarks.md that are made from records stand between marks of their names.
const (
	partTable    = "bench"
	partProfiles = "profiles"
)

// profiles is the folder of their records, in that of the results.
const profiles = "profiles"

// book is where records are kept, and the page that is made from them, with its plots beside it.
type book struct{ folder, doc string }

// keep writes a record.
func (b book) keep(name string, record any) error {
	text, err := json.MarshalIndent(record, "", "\t")
	if err != nil {
		return err
	}
	file := filepath.Join(b.folder, name+".json")
	return errors.Join(os.MkdirAll(filepath.Dir(file), 0o777), os.WriteFile(file, append(text, '\n'), 0o666))
}

// recall reads the record of each scenario that has one.
func recall[T any](b book, folder string) (all []*T, err error) {
	for _, s := range scenarios {
		text, err := os.ReadFile(filepath.Join(b.folder, folder, s.name+".json"))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		r := new(T)
		if err == nil {
			err = json.Unmarshal(text, r)
		}
		if err != nil {
			return nil, fmt.Errorf("read the record of %s: %w", s.name, err)
		}
		all = append(all, r)
	}
	return all, nil
}

// write makes the page and the plots anew from all records.
func (b book) write() error {
	results, err := recall[result](b, "")
	if err != nil {
		return err
	}
	taken, err := recall[profile](b, profiles)
	if err != nil {
		return err
	}
	page, err := os.ReadFile(b.doc)
	if errors.Is(err, os.ErrNotExist) {
		page, err = []byte("# Benchmarks\n\n"+marks(partTable)+"\n"+marks(partProfiles)), os.MkdirAll(filepath.Dir(b.doc), 0o777)
	}
	if err != nil {
		return err
	}
	base := strings.TrimSuffix(b.doc, ".md")
	var images strings.Builder
	for _, p := range plots(results) {
		file := base + p.suffix + ".svg"
		if err := os.WriteFile(file, []byte(p.svg), 0o666); err != nil {
			return err
		}
		fmt.Fprintf(&images, "![%s](%s)\n\n", p.title, filepath.Base(file))
	}
	text, err := between(string(page), partTable, "\n"+images.String()+table(results)+"\n")
	if err == nil {
		text, err = between(text, partProfiles, "\n"+textOfProfiles(taken))
	}
	if err != nil {
		return fmt.Errorf("%s: %w", b.doc, err)
	}
	return os.WriteFile(b.doc, []byte(text), 0o666)
}

func marks(part string) string { return markOf(part, "begin") + "\n" + markOf(part, "end") + "\n" }

func markOf(part, which string) string { return "<!-- " + part + ": " + which + " -->" }

// between replaces what stands between the marks of a part.
func between(page, part, text string) (string, error) {
	begin, end := markOf(part, "begin"), markOf(part, "end")
	before, rest, ok := strings.Cut(page, begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		return "", fmt.Errorf("the marks %s and %s are missing", begin, end)
	}
	return before + begin + "\n" + text + end + after, nil
}
