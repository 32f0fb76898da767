package cookie

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// A cookies.txt has a cookie a line, of seven fields between TABs: domain, whether subdomains get it too, path, whether it
// is secure, expiry in Unix seconds (0: it ends with the process), name, value. Netscape began it; curl, wget, yt-dlp and
// browsers' extensions go on with it, each a little differently.
const (
	netscapeHeader   = "# Netscape HTTP Cookie File\n# These are secrets: whoever has them can act for you.\n\n"
	netscapeHTTPOnly = "#HttpOnly_" // before the domain: curl's way to say it
	maxNetscapeLine  = 16 << 10     // bytes; longer lines hold no cookie that would be taken
)

// LineError is a line of a cookies.txt that holds no cookie. It does not cite the line, which may hold a secret.
type LineError struct {
	Line   int // from 1
	Reason string
}

func (e *LineError) Error() string { return fmt.Sprintf("line %d: %s", e.Line, e.Reason) }

// ReadNetscape reads a cookies.txt. A line that holds no cookie is left out and is a *LineError in bad; err is r's. The
// cookies are as they are written: Storage.Set judges them. Expired ones are among them.
func ReadNetscape(r io.Reader) (cookies []Cookie, bad []error, err error) {
	in := bufio.NewReaderSize(r, maxNetscapeLine)
	for n := 1; ; n++ {
		line, tooLong, err := in.ReadLine()
		if err == io.EOF {
			return cookies, bad, nil
		}
		if err != nil {
			return cookies, bad, err
		}
		text := string(line)
		if tooLong {
			for tooLong && err == nil {
				_, tooLong, err = in.ReadLine()
			}
			bad = append(bad, &LineError{n, "too long"})
			continue
		}
		if n == 1 {
			text = strings.TrimPrefix(text, "\ufeff")
		}
		httpOnly := false
		if text, httpOnly = strings.CutPrefix(strings.TrimSuffix(text, "\r"), netscapeHTTPOnly); !httpOnly && isNetscapeComment(text) {
			continue
		}
		c, reason := parseNetscape(text)
		if reason != "" {
			bad = append(bad, &LineError{n, reason})
			continue
		}
		c.HTTPOnly = httpOnly
		cookies = append(cookies, c)
	}
}

func isNetscapeComment(line string) bool {
	return strings.HasPrefix(line, "#") || strings.Trim(line, " \t") == ""
}

// parseNetscape reads a line, or says why it holds no cookie.
func parseNetscape(line string) (c Cookie, reason string) {
	fields := strings.SplitN(line, "\t", 7)
	if len(fields) == 6 && isBool(fields[2]) { // the path is not there: old files leave it out
		fields = append(fields[:2], append([]string{"/"}, fields[2:]...)...)
	}
	if len(fields) == 6 { // curl and others leave out the TAB before an empty value
		fields = append(fields, "")
	}
	if len(fields) != 7 {
		return c, fmt.Sprintf("%d fields between TABs, not 7", len(fields))
	}
	if !isBool(fields[1]) || !isBool(fields[3]) {
		return c, "its second and fourth field are not both TRUE or FALSE"
	}
	domain := strings.TrimPrefix(fields[0], ".")
	if host, port, ok := strings.Cut(domain, ":"); ok && port != "" && strings.Trim(port, "0123456789") == "" {
		domain = host // wget's, of a port of its own; an IPv6 address has more colons
	}
	if domain = canonicalHost(strings.Trim(domain, "[]")); !validDomain(domain) {
		return c, "its domain is no host's name"
	}
	c = Cookie{
		Name: trimSpace(fields[5]), Value: trimSpace(fields[6]), Domain: domain,
		HostOnly: strings.EqualFold(fields[1], "FALSE") || isAddress(domain),
		Path:     fields[2], Secure: strings.EqualFold(fields[3], "TRUE"),
	}
	if !strings.HasPrefix(c.Path, "/") {
		c.Path = "/"
	}
	seconds, _, _ := strings.Cut(fields[4], ".") // some write fractions
	if seconds != "" {                           // Python leaves it empty for a session cookie
		n, err := strconv.ParseInt(seconds, 10, 64)
		if err != nil && !errors.Is(err, strconv.ErrRange) {
			return c, "its expiry is no number of seconds"
		}
		if n != 0 {
			c.Expires = time.Unix(min(max(n, 1), maxNetscapeExpiry), 0)
		}
	}
	return c, ""
}

// maxNetscapeExpiry is the year 9999, which every reader can represent.
const maxNetscapeExpiry = 253402300799

func isBool(s string) bool { return strings.EqualFold(s, "TRUE") || strings.EqualFold(s, "FALSE") }

// WriteNetscape writes cookies as a cookies.txt that curl reads. SameSite, and the times but for the expiry, are not in it.
// A cookie that the format cannot hold, since a TAB stands in it, is left out; the error, once all others are written,
// joins a *Refusal for each. The file is of secrets: it should have mode 0600.
func WriteNetscape(w io.Writer, cookies []Cookie) error {
	out := bufio.NewWriter(w)
	out.WriteString(netscapeHeader)
	var left []error
	for _, c := range cookies {
		if strings.Contains(c.Name+c.Value+c.Path, "\t") {
			left = append(left, refuse(c.Name, "cookies.txt cannot hold a TAB"))
			continue
		}
		if c.HTTPOnly {
			out.WriteString(netscapeHTTPOnly)
		}
		expires := int64(0)
		if !c.session() {
			expires = max(c.Expires.Unix(), 1)
		}
		domain := c.Domain
		if !c.HostOnly {
			domain = "." + domain
		}
		fmt.Fprintf(out, "%s\t%s\t%s\t%s\t%d\t%s\t%s\n", domain, boolWord(!c.HostOnly), c.Path, boolWord(c.Secure), expires, c.Name, c.Value)
	}
	if err := out.Flush(); err != nil {
		return err
	}
	return errors.Join(left...)
}

func boolWord(b bool) string {
	if b {
		return "TRUE"
	}
	return "FALSE"
}
