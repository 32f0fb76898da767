package urlsessiontest

import "net/http"

// path is what the server knows of one path.
type path struct {
	resource *Resource
	script   []Step // consumed one a request
	always   Step   // once the script is empty; nil is honest

	requests int
	sent     int64
}

// Every is the path whose script and default serve all paths that have neither
// of their own.
const Every = "*"

// Publish makes res what path honestly is, in place of what it was. A path is
// compared as the URL's decoded path, without its query.
func (s *Server) Publish(path string, res Resource) { s.publish(path, res.prepared()) }

// PublishFunc asks find for the resource of each path that has no published
// one, so that a million files need no million calls. find is called by several
// goroutines at once.
func (s *Server) PublishFunc(find func(path string) (Resource, bool)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.find = find
}

// Withdraw makes path honestly 404.
func (s *Server) Withdraw(path string) { s.publish(path, nil) }

func (s *Server) publish(path string, res *Resource) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.path(path).resource = res
}

// Script appends steps to path's script: each request consumes one, whatever its
// method; when none is left, what [Server.Always] set answers.
func (s *Server) Script(path string, steps ...Step) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.path(path)
	p.script = append(p.script, steps...)
}

// Always sets what answers path's requests beside its script, [Honest] if it is
// never called.
func (s *Server) Always(path string, step Step) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.path(path).always = step
}

// Remaining is the number of steps that path's script has left.
func (s *Server) Remaining(path string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.path(path).script)
}

// path is the entry of name, made if need be; s.mu is held.
func (s *Server) path(name string) *path {
	p := s.paths[name]
	if p == nil {
		p = new(path)
		s.paths[name] = p
	}
	return p
}

// next takes the step of a request for p off its script; s.mu is held.
func (s *Server) next(p *path) Step {
	if len(p.script) == 0 && p.always == nil {
		p = s.path(Every)
	}
	if len(p.script) > 0 {
		step := p.script[0]
		p.script = p.script[1:]
		return step
	}
	if p.always != nil {
		return p.always
	}
	return Honest()
}

// reply decides the answer to req, which came by connection conn.
func (s *Server) reply(conn int, req *http.Request) *Reply {
	name := req.URL.Path
	s.mu.Lock()
	p := s.path(name)
	res, step, find := p.resource, s.next(p), s.find
	s.mu.Unlock()
	if res == nil && find != nil {
		if found, ok := find(name); ok {
			res = found.prepared()
		}
	}

	shown := req.WithContext(s.conns.ctx)
	shown.Body = http.NoBody
	r := &Reply{Request: shown, server: s, connection: conn, upload: readAll()}
	r.Become(res)
	// HTTP/1.0 is answered and closed, whatever it asks for.
	r.Close = req.Close || !req.ProtoAtLeast(1, 1)
	step(r)
	return r
}
