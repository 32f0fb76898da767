package main

import (
	"encoding/hex"
	"strings"

	"github.com/spf13/cobra"

	"github.com/urlsession/urlsession"
)

// checksumFlag is --checksum: a digest, or @FILE with checksums; empty: none.
type checksumFlag string

func (f *checksumFlag) register(cmd *cobra.Command) {
	cmd.Flags().StringVar((*string)(f), "checksum", "", "verify the file: `sha-256=HEX`, sha-512=HEX, md5=HEX, or @FILE with checksums")
}

// check refuses what is no digest, and one where there may be several of what.
func (f checksumFlag) check(one bool, what string) error {
	switch {
	case f == "":
	case f == "@":
		return usagef("--checksum @ lacks the checksum file's name")
	case strings.HasPrefix(string(f), "@"):
	case !one:
		return usagef("--checksum %s is that of one file, and there may be several %s: give --checksum @FILE", string(f), what)
	case !validDigest(string(f)):
		return usagef("--checksum %s: it is sha-256=, sha-512= or md5= and 64, 128 or 32 hexadecimal digits, or @FILE", string(f))
	}
	return nil
}

// decorate has the request's file verified.
func (f checksumFlag) decorate(r *urlsession.Request) {
	if file, ok := strings.CutPrefix(string(f), "@"); ok {
		r.DigestFile = file
	} else if f != "" {
		r.Digests = []string{string(f)}
	}
}

func validDigest(s string) bool {
	algorithm, digits, _ := strings.Cut(s, "=")
	raw, err := hex.DecodeString(digits)
	size, known := map[string]int{"sha-256": 32, "sha-512": 64, "md5": 16}[strings.ToLower(algorithm)]
	return err == nil && known && len(raw) == size
}
