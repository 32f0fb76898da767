package test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// condition is what a script may depend on beside testscript's own conditions. With CI=true nothing may be missing, and a
// script that lacks something fails.
func condition(name string) (bool, error) {
	switch name {
	case "nginx":
		return nginxProgram() != "" || os.Getenv("CI") == "true", nil
	case "root":
		return os.Geteuid() == 0, nil
	}
	return false, fmt.Errorf("unknown condition %q", name)
}

// nginxProgram is where nginx is, or empty.
func nginxProgram() string {
	for _, name := range []string{"nginx", "/usr/sbin/nginx"} { // the folder is not in everybody's PATH
		if program, err := exec.LookPath(name); err == nil {
			return program
		}
	}
	return ""
}

// nginx VAR FOLDER [USER PASSWORD] starts nginx, which serves the folder and takes PUTs into it, and sets $VAR to its URL. With a
// user it wants Basic authentication. Below rate/, few/ and whole/ each connection has 4 MiB a second; few/ takes one
// connection at a time, and whole/ no ranges. Its log, in the order in which requests ended, is .nginx/access.log.
// Scripts that need it begin with the condition nginx.
func nginx(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 && len(args) != 4 {
		ts.Fatalf("usage: nginx VAR FOLDER [USER PASSWORD]")
	}
	program := nginxProgram()
	if program == "" {
		ts.Fatalf("nginx is missing: install it (Debian: nginx-light)")
	}
	root, state := ts.MkAbs(args[1]), filepath.Join(ts.Getenv("WORK"), ".nginx")
	ts.Check(os.MkdirAll(root, 0o777))
	ts.Check(os.MkdirAll(state, 0o777))
	auth := ""
	if len(args) == 4 {
		passwords := filepath.Join(state, "passwords")
		ts.Check(os.WriteFile(passwords, []byte(args[2]+":{PLAIN}"+args[3]+"\n"), 0o644))
		auth = "auth_basic \"files\"; auth_basic_user_file " + passwords + ";"
	}
	// Workers of root run as nobody.
	for dir := root; dir != "/" && dir != os.TempDir(); dir = filepath.Dir(dir) {
		_ = os.Chmod(dir, 0o777)
	}
	address, stop, err := serveNginx(program, state, func(address string) []byte {
		return fmt.Appendf(nil, nginxConf, state, address, root, auth)
	})
	ts.Check(err)
	ts.Setenv(args[0], "http://"+address)
	ts.Defer(stop)
}

// serveNginx runs nginx in the folder state, by what conf makes of a free address.
func serveNginx(program, state string, conf func(address string) []byte) (address string, stop func(), err error) {
	file := filepath.Join(state, "nginx.conf")
	for attempt := 0; ; attempt++ {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return "", nil, err
		}
		address := l.Addr().String()
		l.Close()
		if err := os.WriteFile(file, conf(address), 0o666); err != nil {
			return "", nil, err
		}
		log := new(output)
		cmd := exec.Command(program, "-p", state, "-c", file, "-e", filepath.Join(state, "start.log"))
		cmd.Stdout, cmd.Stderr = log, log
		if err := cmd.Start(); err != nil {
			return "", nil, err
		}
		exited := make(chan error, 1)
		go func() { exited <- cmd.Wait() }()
		if listening(address, exited) {
			return address, func() {
				_ = cmd.Process.Signal(syscall.SIGTERM)
				<-exited
			}, nil
		}
		if attempt == 5 { // each time another took the port first
			return "", nil, fmt.Errorf("nginx does not start: %s", log)
		}
	}
}

const nginxConf = `
daemon off;
worker_processes 1;
pid %[1]s/pid;
error_log %[1]s/error.log;
events { worker_connections 128; }
http {
	log_format requests '$uri $status "$http_range" $connection';
	access_log %[1]s/access.log requests;
	default_type application/octet-stream;
	client_body_temp_path %[1]s/body;
	proxy_temp_path %[1]s/proxy;
	fastcgi_temp_path %[1]s/fastcgi;
	uwsgi_temp_path %[1]s/uwsgi;
	scgi_temp_path %[1]s/scgi;
	client_max_body_size 0;
	limit_conn_zone $binary_remote_addr zone=addresses:1m;
	server {
		listen %[2]s;
		root %[3]s;
		dav_methods PUT;
		create_full_put_path on;
		location /fresh/ { expires 1h; }
		location /stale/ { expires 0; }
		location /rate/ { limit_rate 4m; }
		location /few/ { limit_rate 4m; limit_conn addresses 1; }
		location /whole/ { limit_rate 4m; max_ranges 0; }
		%[4]s
	}
}
`

// listening waits until a connection is taken, or the program has exited.
func listening(address string, exited chan error) bool {
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		if c, err := net.Dial("tcp", address); err == nil {
			c.Close()
			return true
		}
		select {
		case err := <-exited:
			exited <- err
			return false
		case <-time.After(10 * time.Millisecond):
		}
	}
	return false
}
