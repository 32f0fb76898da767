package background

import (
	"fmt"
	"math/rand/v2"
	"net/http"

	"github.com/urlsession/urlsession/urlsessiontest"
)

// presigned are the URLs of an upload in parts.
type presigned struct {
	Parts           []string
	Complete, Abort string
}

// partSize is of each part but the last.
const partSize = mib

// apart is an upload in parts, and what its server does to it.
type apart struct {
	*urlsessiontest.Multipart
	breaks *breakages
}

// receiveParts starts the server of the uploads in parts. It too breaks every other one off, once or twice.
func (x *torture) receiveParts() {
	x.plan.Parts, x.apart = make(map[int]presigned), make(map[int]apart)
	x.store = urlsessiontest.NewMultipartServer(urlsessiontest.MinimumPart(partSize))
	x.t.Cleanup(x.store.Close)
	for _, j := range x.plan.Jobs {
		if !j.Apart {
			continue
		}
		m := x.store.Create(j.key(), int((j.Size+partSize-1)/partSize))
		r := rand.New(rand.NewPCG(j.Seed, 0))
		b := &breakages{loses: true, whole: true, r: r, left: r.IntN(2) * (1 + r.IntN(2))}
		for n := range m.Parts {
			m.Always(n+1, func(reply *urlsessiontest.UploadReply) {
				switch broken := b.next(reply.Request.Method, reply.Request.ContentLength); {
				case broken.status != 0:
					urlsessiontest.UploadStatus(broken.status)(reply)
				case broken.cut:
					urlsessiontest.UploadCut(broken.after)(reply)
				case broken.losesAnswer:
					urlsessiontest.UploadLosesAnswer()(reply)
				}
			})
		}
		x.plan.Parts[j.Number] = presigned{m.Parts, m.Complete, m.Abort}
		x.apart[j.Number] = apart{m, b}
	}
}

// checkParts says whether the server of an upload in parts has exactly the file, and has been sent no more twice than the kills and it
// itself have cost: of each life of the daemon but the last the parts that were under way, and what it has broken off.
func (x *torture) checkParts(j job) error {
	if !j.Apart {
		return nil
	}
	m := x.apart[j.Number]
	if err := m.Check(j.body()); err != nil {
		return err
	}
	lives := make([][]urlsessiontest.Request, len(x.lives)+1)
	var read int64
	for _, r := range x.store.RequestsBy(http.MethodPut) {
		if r.Path != "/bucket/"+j.key() {
			continue
		}
		n := 0
		for n < len(x.lives) && x.lives[n].Before(r.Time) {
			n++
		}
		lives[n] = append(lives[n], r)
		read += r.BodySize
	}
	allowed := m.breaks.forgotten()
	for _, requests := range lives[:len(lives)-1] {
		allowed += int64(atOnce(requests)) * partSize
	}
	if again := read - j.Size; again > allowed {
		return fmt.Errorf("in parts: %d bytes came again, and %d may; broken off: %q", again, allowed, m.breaks.said)
	}
	return nil
}
