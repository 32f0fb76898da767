package urlsessiontest

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"strconv"
)

// The numbers of RFC 1928 and RFC 1929.
const (
	socksVersion      = 5
	socksNoMethod     = 0xff
	socksOpen         = 0 // no authentication
	socksPassword     = 2 // user name and password
	socksConnect      = 1
	socksIPv4         = 1
	socksName         = 3
	socksIPv6         = 4
	socksSucceeded    = 0
	socksFailed       = 1
	socksNoCommand    = 7
	socksNoAddress    = 8
	socksLoginVersion = 1
)

func (p *Proxy) serveSOCKS(c net.Conn, br *bufio.Reader) {
	head, err := take(br, 2)
	if err != nil {
		return
	}
	methods, err := take(br, int(head[1]))
	if err != nil {
		return
	}
	method := byte(socksOpen)
	if p.locked {
		method = socksPassword
	}
	if !bytes.Contains(methods, []byte{method}) {
		p.record(ProxyRequest{Kind: "socks5", Refused: true})
		c.Write([]byte{socksVersion, socksNoMethod})
		return
	}
	c.Write([]byte{socksVersion, method})
	var user string
	if p.locked {
		var password string
		if user, password, err = socksLogin(br); err != nil {
			return
		}
		if !p.allows(user, password) {
			p.record(ProxyRequest{Kind: "socks5", User: user, Refused: true})
			c.Write([]byte{socksLoginVersion, socksFailed})
			return
		}
		c.Write([]byte{socksLoginVersion, socksSucceeded})
	}

	head, err = take(br, 4) // version, command, reserved, kind of address
	if err != nil {
		return
	}
	target, err := socksTarget(br, head[3])
	if err != nil {
		socksReply(c, socksNoAddress)
		return
	}
	p.record(ProxyRequest{Kind: "socks5", Target: target, User: user})
	if head[1] != socksConnect {
		socksReply(c, socksNoCommand)
		return
	}
	to, err := p.dial(p.conns.ctx, "tcp", target)
	if err != nil {
		socksReply(c, socksFailed)
		return
	}
	socksReply(c, socksSucceeded)
	p.tunnel(c, br, to)
}

func socksReply(c net.Conn, code byte) {
	c.Write([]byte{socksVersion, code, 0, socksIPv4, 0, 0, 0, 0, 0, 0})
}

func socksLogin(br *bufio.Reader) (user, password string, err error) {
	if _, err = take(br, 1); err != nil {
		return "", "", err
	}
	if user, err = takeString(br); err != nil {
		return "", "", err
	}
	password, err = takeString(br)
	return user, password, err
}

func socksTarget(br *bufio.Reader, kind byte) (string, error) {
	var host string
	switch kind {
	case socksIPv4, socksIPv6:
		ip, err := take(br, map[byte]int{socksIPv4: net.IPv4len, socksIPv6: net.IPv6len}[kind])
		if err != nil {
			return "", err
		}
		host = net.IP(ip).String()
	case socksName:
		name, err := takeString(br)
		if err != nil {
			return "", err
		}
		host = name
	default:
		return "", net.UnknownNetworkError("SOCKS5 address of kind " + strconv.Itoa(int(kind)))
	}
	port, err := take(br, 2)
	if err != nil {
		return "", err
	}
	return net.JoinHostPort(host, strconv.Itoa(int(binary.BigEndian.Uint16(port)))), nil
}

func take(br *bufio.Reader, n int) ([]byte, error) {
	p := make([]byte, n)
	_, err := io.ReadFull(br, p)
	return p, err
}

// takeString reads a length of one byte and as many bytes.
func takeString(br *bufio.Reader) (string, error) {
	n, err := br.ReadByte()
	if err != nil {
		return "", err
	}
	p, err := take(br, int(n))
	return string(p), err
}
