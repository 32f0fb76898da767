package transfer

import (
	"net/url"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/urlsession/urlsession/internal/partial"
)

const (
	maxName      = 255        // bytes of a file name, on every file system that matters
	maxExtension = 32         // bytes of what is kept as an extension when a name is cut
	fallbackName = "download" // where neither response nor URL name the file
)

// fileName is what a download to a folder is called: as the response's Content-Disposition says, else as the URL ends,
// made safe. disposition is empty where the response does not say.
func fileName(disposition string, urls ...string) string {
	if name := safeName(disposition); name != "" {
		return name
	}
	for _, raw := range urls {
		if name := urlName(raw); name != "" {
			return name
		}
	}
	return fallbackName
}

// urlName is the last segment of a URL's path, made safe; empty where there is none.
func urlName(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return ""
	}
	path := strings.TrimRight(u.EscapedPath(), "/")
	last := path[strings.LastIndexByte(path, '/')+1:]
	if decoded, err := url.PathUnescape(last); err == nil {
		last = decoded
	}
	return safeName(last)
}

// safeName makes a name from outside one that can be created in a folder and harms nothing there, on no system: the
// part after the last separator of either kind; valid UTF-8 in NFC; no control and direction characters; none of
// <>:"|?*; no dot at the start; no dot or space at the end; not a device of Windows; not a part file or its record; at
// most 255 bytes, with the extension kept. It is empty where nothing is left.
func safeName(s string) string {
	const far = 64 << 10 // beyond this nobody means it
	if len(s) > far {
		s = s[len(s)-far:]
	}
	s = s[strings.LastIndexAny(s, `/\`)+1:]
	s = norm.NFC.String(strings.ToValidUTF8(s, "_"))
	s = strings.Map(safeRune, s)
	// Normalization may have made a separator of a look-alike: none does in NFC, but the promise must not hang on it.
	s = s[strings.LastIndexAny(s, `/\`)+1:]

	s = strings.TrimLeft(s, ". ")
	s = cutName(strings.TrimRight(s, ". "))
	if reserved(s) {
		s = cutName("_" + s)
	}
	if partial.Owns(s) { // a server must not plant part files and records, which a later download would go on from
		dot := strings.LastIndexByte(s, '.')
		s = s[:dot] + "_" + s[dot+1:]
	}
	return s
}

func safeRune(r rune) rune {
	switch {
	case unicode.Is(unicode.Cc, r), // NUL, line ends, escapes
		r == 0x061C, r == 0x200B, r == 0x200E, r == 0x200F, r == 0xFEFF, // marks without a shape
		0x2028 <= r && r <= 0x202E, // line and paragraph separators; embeddings and overrides of direction
		0x2060 <= r && r <= 0x206F: // isolates of direction and others without a shape
		return -1
	case unicode.IsSpace(r):
		return ' '
	case strings.ContainsRune(`<>:"|?*`, r):
		return '_'
	}
	return r
}

// cutName cuts s to maxName bytes between characters, in front of its extension.
func cutName(s string) string {
	if len(s) <= maxName {
		return s
	}
	ext := ""
	if dot := strings.LastIndexByte(s, '.'); dot > 0 && len(s)-dot <= maxExtension {
		s, ext = s[:dot], s[dot:]
	}
	n := maxName - len(ext)
	for n > 0 && n < len(s) && !utf8.RuneStart(s[n]) {
		n--
	}
	return strings.TrimRight(s[:min(n, len(s))], ". ") + ext
}

var devices = []string{"CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"}

// reserved reports whether Windows takes s for a device, whatever its extension.
func reserved(s string) bool {
	stem, _, _ := strings.Cut(s, ".")
	stem = strings.ToUpper(strings.TrimRight(stem, " "))
	if slices.Contains(devices, stem) {
		return true
	}
	port, ok := strings.CutPrefix(stem, "COM")
	if !ok {
		port, ok = strings.CutPrefix(stem, "LPT")
	}
	return ok && utf8.RuneCountInString(port) == 1 && strings.ContainsAny(port, "0123456789¹²³")
}
