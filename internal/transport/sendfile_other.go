//go:build !linux

package transport

import "net"

func (b *FileBody) sendTo(*net.TCPConn, int64) (sent int64, handled bool, err error) {
	return 0, false, nil
}
