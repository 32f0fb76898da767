package main

import (
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/urlsession/urlsession"
)

// bodyFlags are -d and -F: a request's body, given on the command line.
type bodyFlags struct {
	data []string
	form []string
}

func (f *bodyFlags) register(cmd *cobra.Command) {
	p := cmd.Flags()
	p.StringArrayVarP(&f.data, "data", "d", nil, "send `text`, the content of @file, or standard input (@-); several texts are joined by &")
	p.StringArrayVarP(&f.form, "form", "F", nil, "send a form: `name=value`, or name=@file to send a file in it")
	cmd.MarkFlagsMutuallyExclusive("data", "form")
}

func (f *bodyFlags) given() bool { return len(f.data) > 0 || len(f.form) > 0 }

// body is the body, and the Content-Type that it has unless -H says another; "" where the body knows it.
func (f *bodyFlags) body(in io.Reader) (body urlsession.Body, contentType string, err error) {
	if len(f.form) > 0 {
		body, err = formBody(f.form)
		return body, "", err
	}
	// As curl does: what -d sends is taken for a form's fields.
	const contentOfForm = "application/x-www-form-urlencoded"
	if len(f.data) > 1 {
		for _, d := range f.data {
			if strings.HasPrefix(d, "@") {
				return body, "", usagef("-d %s: a file is sent alone; only texts are joined", d)
			}
		}
	}
	text := strings.Join(f.data, "&")
	name, isFile := strings.CutPrefix(text, "@")
	switch {
	case !isFile:
		return urlsession.Bytes([]byte(text)), contentOfForm, nil
	case name == "-":
		return urlsession.Stream(in, -1, nil), contentOfForm, nil
	}
	body, err = fileBody(name)
	return body, contentOfForm, err
}

// formBody is a multipart form of fields as -F says them.
func formBody(fields []string) (urlsession.Body, error) {
	var parts []urlsession.Part
	for _, field := range fields {
		name, value, ok := strings.Cut(field, "=")
		path, isFile := strings.CutPrefix(value, "@")
		switch {
		case !ok || name == "":
			return urlsession.Body{}, usagef("-F takes name=value or name=@file")
		case !isFile:
			parts = append(parts, urlsession.Field(name, value))
		case path == "-":
			return urlsession.Body{}, usagef("-F %s=@-: a form's file is read from a file, not from standard input", name)
		case strings.Contains(path, ";type=") || strings.Contains(path, ";filename="):
			return urlsession.Body{}, usagef("-F %s=@…: ;type= and ;filename= are not known here: the file's name says both", name)
		default:
			parts = append(parts, urlsession.FileField(name, path))
		}
	}
	return urlsession.Form(parts...), nil
}

// fileBody is a file as a body; a pipe or a device is read as it comes, of unknown size.
func fileBody(path string) (urlsession.Body, error) {
	info, err := os.Stat(path)
	if err != nil || info.Mode().IsRegular() || info.IsDir() {
		return urlsession.File(path), nil // the session says what is wrong with it
	}
	f, err := os.Open(path)
	if err != nil {
		return urlsession.Body{}, usageError{err}
	}
	return urlsession.Stream(f, -1, nil), nil // closed at the task's end
}
