package task

// AppendJSON appends what json.Marshal makes of the spec, and is several times as fast. It fails where that does: at a
// Priority that is no number, and a time that RFC 3339 has no form for.
func (s *Spec) AppendJSON(b []byte) ([]byte, error) {
	o := object{b: b}
	o.spec(s)
	return o.b, o.err
}

// AppendJSON is Spec.AppendJSON of a record.
func (r *Record) AppendJSON(b []byte) ([]byte, error) {
	o := object{b: b}
	o.record(r)
	return o.b, o.err
}

func (o *object) spec(s *Spec) {
	o.begin()
	o.text("kind", string(s.Kind))
	o.name("request")
	o.request(&s.Request)
	o.optionalText("key", s.Key)
	o.optionalInteger("configuration", int64(s.Configuration))
	o.optionalText("description", s.Description)
	if len(s.Metadata) > 0 {
		o.other("metadata", s.Metadata)
	}
	if s.Priority != 0 {
		o.float("priority", float64(s.Priority))
	}
	o.optionalBoolean("suspended", s.Suspended)
	o.optionalTime("earliestBegin", s.EarliestBegin)
	o.name("policy")
	o.policy(&s.Policy)
	if s.Download != nil {
		o.name("download")
		o.download(s.Download)
	}
	if s.Upload != nil {
		o.other("upload", s.Upload)
	}
	o.optionalInteger("limit", s.Limit)
	o.optionalInteger("rateLimit", s.RateLimit)
	o.optionalBoolean("stream", s.Stream)
	o.end()
}

func (o *object) request(r *Request) {
	o.begin()
	o.text("method", r.Method)
	o.text("url", r.URL)
	if len(r.Header) > 0 {
		o.other("header", r.Header)
	}
	if r.Body != nil {
		o.other("body", r.Body)
	}
	o.end()
}

func (o *object) policy(p *Policy) {
	o.begin()
	o.integer("requestTimeout", int64(p.RequestTimeout))
	o.integer("resourceTimeout", int64(p.ResourceTimeout))
	o.optionalBoolean("waitsForConnectivity", p.WaitsForConnectivity)
	o.optionalBoolean("waitsForSpace", p.WaitsForSpace)
	o.optionalBoolean("discretionary", p.Discretionary)
	o.boolean("allowsExpensive", p.AllowsExpensive)
	o.boolean("allowsConstrained", p.AllowsConstrained)
	o.optionalInteger("connections", int64(p.Connections))
	o.optionalText("cache", string(p.Cache))
	o.optionalInteger("retries", int64(p.Retries))
	o.optionalBoolean("retryUnsafe", p.RetryUnsafe)
	o.optionalBoolean("failOnHTTPError", p.FailOnHTTPError)
	o.optionalBoolean("forbidDowngrade", p.ForbidDowngrade)
	if p.Ask != (Ask{}) {
		o.other("ask", p.Ask)
	}
	o.end()
}

func (o *object) download(d *DownloadSpec) {
	o.begin()
	o.optionalText("destination", d.Destination)
	o.optionalText("path", d.Path)
	o.optionalBoolean("folder", d.Folder)
	o.optionalText("conflict", string(d.Conflict))
	if len(d.Digests) > 0 {
		o.other("digests", d.Digests)
	}
	o.optionalText("digestFile", d.DigestFile)
	if d.Resume != nil {
		o.other("resume", d.Resume)
	}
	o.optionalText("keyURL", d.KeyURL)
	o.end()
}

func (o *object) record(r *Record) {
	o.begin()
	o.unsigned("taskIdentifier", uint64(r.ID))
	o.name("spec")
	o.spec(&r.Spec)
	o.text("state", string(r.State))
	if r.Waiting != nil {
		o.other("waiting", r.Waiting)
	}
	o.optionalInteger("suspendCount", int64(r.SuspendCount))
	o.time("created", r.Created)
	o.optionalTime("ended", r.Ended)
	o.optionalInteger("active", int64(r.Active))
	o.optionalTime("since", r.Since)
	o.optionalInteger("attempt", int64(r.Attempt))
	o.optionalBoolean("underWay", r.UnderWay)
	o.optionalInteger("retries", int64(r.Retries))
	o.optionalTime("next", r.Next)
	if len(r.Answered) > 0 {
		o.other("answered", r.Answered)
	}
	if r.Commit != nil {
		o.name("commit")
		o.commit(r.Commit)
	}
	if r.Upload != nil {
		o.other("upload", r.Upload)
	}
	o.optionalText("url", r.URL)
	if r.Response != nil {
		o.name("response")
		o.response(r.Response)
	}
	o.name("counts")
	o.counts(&r.Counts)
	if r.Failure != nil {
		o.other("failure", r.Failure)
	}
	o.optionalText("path", r.Path)
	o.optionalText("digest", r.Digest)
	o.optionalBoolean("keepUpload", r.KeepUpload)
	if r.ResumeData != nil {
		o.other("resumeData", r.ResumeData)
	}
	o.unsigned("version", r.Version)
	o.end()
}

func (o *object) commit(c *Commit) {
	o.begin()
	o.text("path", c.Path)
	o.text("part", c.Part)
	o.name("file")
	o.source(&c.File)
	o.optionalText("digest", c.Digest)
	o.end()
}

func (o *object) source(s *Source) {
	o.begin()
	o.integer("size", s.Size)
	o.time("modTime", s.ModTime)
	o.unsigned("device", s.Device)
	o.unsigned("inode", s.Inode)
	o.end()
}

func (o *object) response(r *Response) {
	o.begin()
	o.text("url", r.URL)
	o.integer("statusCode", int64(r.Status))
	o.optionalText("protocol", r.Proto)
	if len(r.Header) > 0 {
		o.other("header", r.Header)
	}
	o.integer("contentLength", r.ContentLength)
	o.optionalText("coding", r.Coding)
	o.end()
}

func (o *object) counts(c *Counts) {
	o.begin()
	o.integer("bytesSent", c.Sent)
	o.integer("bytesExpectedToSend", c.ExpectedToSend)
	o.integer("bytesReceived", c.Received)
	o.integer("bytesExpectedToReceive", c.ExpectedToReceive)
	if c.Rate != 0 {
		o.float("rate", c.Rate)
	}
	o.optionalBoolean("confirmed", c.Confirmed)
	o.end()
}
