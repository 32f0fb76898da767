package architecture

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestErrorsPageIsComplete: docs/errors.md has each code of the vocabulary, with its number and name.
func TestErrorsPageIsComplete(t *testing.T) {
	code, err := os.ReadFile("../task/code.go")
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("../../docs/errors.md")
	if err != nil {
		t.Fatal(err)
	}
	codes := regexp.MustCompile(`(?m)^\t(\w+) +Code = -(\d+)$`).FindAllStringSubmatch(string(code), -1)
	if len(codes) < 40 {
		t.Fatalf("only %d codes were found in code.go", len(codes))
	}
	for _, c := range codes {
		if row := "| −" + c[2] + " | `Err" + c[1] + "` |"; !strings.Contains(string(page), row) {
			t.Errorf("docs/errors.md has no row %q", row)
		}
	}
	if rows := strings.Count(string(page), "\n| −"); rows != len(codes) {
		t.Errorf("docs/errors.md has %d rows for %d codes", rows, len(codes))
	}
}

// TestLinks: each relative link of a Markdown page leads to something in the tree.
func TestLinks(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#:]+)(?:#[^)]*)?\)`) // those with a scheme have a colon
	var pages []string
	for _, pattern := range []string{"../../*.md", "../../docs/*.md", "../../docs/*/*.md"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		pages = append(pages, found...)
	}
	if len(pages) == 0 {
		t.Fatal("no pages were found")
	}
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range link.FindAllStringSubmatch(string(text), -1) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(page), m[1])); err != nil {
				t.Errorf("%s: the link to %s leads nowhere", strings.TrimPrefix(page, "../../"), m[1])
			}
		}
	}
}
