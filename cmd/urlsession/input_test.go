package main

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
)

// collect reads a list: items as "WHERE URL NAME", errors as "! TEXT".
func collect(r io.Reader) []string {
	var all []string
	for it, err := range readList(r, "list") {
		if err != nil {
			all = append(all, "! "+err.Error())
		} else {
			all = append(all, fmt.Sprintf("%s %s %s", it.where, it.url, it.name))
		}
	}
	return all
}

func TestReadList(t *testing.T) {
	long := strings.Repeat("x", maxLine+1)
	for text, want := range map[string][]string{
		"":                                     nil,
		"\n\n# c\n  # c\n\t\n":                 nil,
		"http://a\nhttp://b\r\n":               {"list:1 http://a ", "list:2 http://b "},
		"\uFEFFhttp://a":                       {"list:1 http://a "},
		" http://a \t name ":                   {"list:1 http://a name"},
		"http://a\tsub/name":                   {"list:1 http://a sub/name"},
		"http://a\t../n\nhttp://b":             {`! list:1: the file name "../n" is no name within the folder; choose the folder by -o FOLDER/`, "list:2 http://b "},
		"\thttp://a":                           {"! list:1: a line begins with a URL, not with a tab"},
		"\xff\nhttp://b":                       {"! list:1: the line is not UTF-8 text", "list:2 http://b "},
		long + "\nhttp://b":                    {"! list:1: the line is longer than 65536 bytes", "list:2 http://b "},
		"http://a\n" + long:                    {"list:1 http://a ", "! list:2: the line is longer than 65536 bytes"},
		strings.Repeat("#", 3*maxLine) + "\nu": {"! list:1: the line is longer than 65536 bytes", "list:2 u "},
	} {
		if got := collect(strings.NewReader(text)); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%.60q:\n got %.200q\nwant %.200q", text, got, want)
		}
	}
}

func TestReadListFails(t *testing.T) {
	r := io.MultiReader(strings.NewReader("http://a\nhttp://b"), iotest.ErrReader(errors.New("the disk is gone")))
	want := []string{"list:1 http://a ", "! list:2: cannot read the list: the disk is gone"}
	if got := collect(r); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// A line is read when it is asked for, not before: the list may be a pipe.
func TestReadListIsAStream(t *testing.T) {
	pr, pw := io.Pipe()
	defer pr.Close()
	go fmt.Fprintln(pw, "http://a") // and no more
	for it, err := range readList(pr, "list") {
		if err != nil || it.url != "http://a" {
			t.Fatalf("%v, %v", it, err)
		}
		break
	}
}

func FuzzParseLine(f *testing.F) {
	for _, s := range []string{"http://a\tb", "# c", "\t", "http://a\t../../etc/passwd\r", "http://a\t/x", "http://a\ta/./../..//b", "http://a\t.", "\xff"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		it, ok, err := parseLine(line)
		switch {
		case err != nil && ok, !ok && it != item{}:
			t.Errorf("%q: %v, %v, %v", line, it, ok, err)
		case ok && it.url == "":
			t.Errorf("%q: no URL", line)
		case it.name != "" && !filepath.IsLocal(it.name):
			t.Errorf("%q: the name %q leaves the folder", line, it.name)
		}
	})
}
