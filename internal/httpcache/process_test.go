package httpcache

func childRewrite(string) {}
func childShare(string)   {}
