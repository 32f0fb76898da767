//go:build linux

package main

import "context"

// The scenarios of uploads: to nginx, and to childReceiving.

var (
	// cameAgain counts heads too. Its bar is what the kernel holds of one connection at most (32 and 4 MiB: tcp_rmem and tcp_wmem of
	// tcp(7)).
	cameAgain = quantity{name: "bytes that came beside the file's", unit: "MiB", limit: 36}
	inSoMany  = quantity{name: "requests"}

	uploadQuantities = []quantity{cameAgain, inSoMany}
)

// Names of what an upload is compared with where that is no other program.
const (
	plainly = "itself, --resumable no"
	uncut   = "itself, not cut"
)

func upload(_ context.Context, l *lab, size int64, _ int) (workload, error) {
	source := l.path("www", "large.bin")
	if err := randomFile(source, 1, size); err != nil {
		return workload{}, err
	}
	url := l.nginx.put + "/large.bin"
	return workload{
		ours:  l.urlsession("upload", source, url),
		peers: []contender{curl("-T", source, url)},
		check: func() error { return sameFile(l.path("received", "large.bin"), source) },
	}, nil
}

// receivedFile makes the file, and a server that receives it, and a workload that lacks who sends it.
func (l *lab) receivedFile(size int64) (w workload, server *receivingServer, source string, err error) {
	source = l.path("www", "large.bin")
	if err := randomFile(source, 1, size); err != nil {
		return w, nil, "", err
	}
	if server, err = l.receiving(l.path("received")); err != nil {
		return w, nil, "", err
	}
	w.close = server.stop
	w.check = func() error { return sameFile(l.path("received", "large.bin"), source) }
	w.before = func(ctx context.Context) error {
		_, err := server.take(ctx)
		return err
	}
	w.after = func(ctx context.Context, u *usage) error {
		now, err := server.take(ctx)
		if err != nil {
			return err
		}
		u.Saw = map[string]float64{cameAgain.name: mib(now.Bytes - size), inSoMany.name: float64(now.Requests)}
		return nil
	}
	return w, server, source, nil
}

func uploadResumable(_ context.Context, l *lab, size int64, _ int) (workload, error) {
	w, server, source, err := l.receivedFile(size)
	if err != nil {
		return w, err
	}
	url := server.url + "/" + wayAll + "/large.bin"
	plain := l.urlsession("upload", "--resumable", "no", source, url)
	plain.name = plainly
	w.ours = l.urlsession("upload", source, url)
	w.peers = []contender{curl("-T", source, url), plain}
	return w, nil
}

// uploadCut compares an upload that is cut with itself where it is not. The wait before it is gone on with is random, of a second
// at most.
func uploadCut(_ context.Context, l *lab, size int64, _ int) (workload, error) {
	w, server, source, err := l.receivedFile(size)
	if err != nil {
		return w, err
	}
	whole := l.urlsession("upload", source, server.url+"/"+wayAll+"/large.bin")
	whole.name = uncut
	w.ours = l.urlsession("upload", source, server.url+"/"+wayHalf+"/large.bin")
	w.peers = []contender{whole}
	return w, nil
}
