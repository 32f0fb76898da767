module github.com/urlsession/urlsession/test

go 1.26.0

require (
	github.com/hanwen/go-fuse/v2 v2.12.1
	github.com/rogpeppe/go-internal v1.16.0
	github.com/urlsession/urlsession v0.0.0
	golang.org/x/sys v0.49.0
)

require golang.org/x/tools v0.26.0 // indirect

replace github.com/urlsession/urlsession => ../
