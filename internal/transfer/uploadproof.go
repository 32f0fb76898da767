package transfer

import (
	"io"
	"net/http"
)

// proven finds out whether an answer of 2xx to the end of the body, which says neither that the upload is complete nor where it is,
// is one to all of it. It may have come before the server has read what is in its socket; that cannot be seen from here. So the upload
// resource is asked, and only that the server has less refutes the answer: many a server knows nothing of an upload any more once it is
// done. An answer that is too long to be held meanwhile stands.
func (u *upload) proven(resp *http.Response) (bool, error) {
	held, err := u.heldBack(resp)
	if err != nil || !held {
		return true, err
	}
	r := u.request
	head, err := u.ask(http.MethodHead)
	u.mu.Lock()
	u.request = r
	u.mu.Unlock()
	if err != nil {
		return true, u.stopped()
	}
	head.Body.Close()
	offset, ok := integer(head.Header, offsetField)
	return head.StatusCode/100 != 2 || !ok || offset >= u.size, nil
}

// heldBack reads the content of an answer into memory, so that its connection is free; false: it is too long for that, and is to be
// read as it was.
func (u *upload) heldBack(resp *http.Response) (bool, error) {
	if resp.ContentLength > mostRefusal {
		return false, nil
	}
	from := alive{u.run, resp.Body}
	all, err := io.ReadAll(io.LimitReader(from, mostRefusal+1))
	if err != nil {
		return false, u.wireError(err)
	}
	if len(all) > mostRefusal {
		resp.Body = &prefixed{resp.Body, all}
		return false, nil
	}
	resp.Body.Close()
	hold(resp, all)
	return true, nil
}

// prefixed is a body of which a first part was read.
type prefixed struct {
	io.ReadCloser
	first []byte
}

func (p *prefixed) Read(b []byte) (int, error) {
	if len(p.first) == 0 {
		return p.ReadCloser.Read(b)
	}
	n := copy(b, p.first)
	p.first = p.first[n:]
	return n, nil
}
