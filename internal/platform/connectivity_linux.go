package platform

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// pollEvery is how often the routing table is read where the kernel does not say when it changes.
const pollEvery = 3 * time.Second

// Online reports whether some route leads out of this machine: a unicast route of any table over an interface that is up,
// has carrier and is no loopback; link-local ones do not count. A server whose network has no default route is online.
// Where the routing table cannot be read (a sandbox), it is true: the connection itself will tell.
//
// It costs a few system calls and reads the whole table.
func (c *Connectivity) Online() bool {
	// The kernel's answer is read by package syscall: x/sys has no parser for it.
	raw, err := syscall.NetlinkRIB(syscall.RTM_GETROUTE, syscall.AF_UNSPEC)
	if err != nil {
		return true
	}
	msgs, err := syscall.ParseNetlinkMessage(raw)
	if err != nil {
		return true
	}
	loopback := make(map[uint32]bool)
	for i := range msgs {
		if leadsOut(&msgs[i], loopback) {
			return true
		}
	}
	return false
}

// leadsOut judges one route (rtnetlink(7), struct rtmsg). loopback remembers which interfaces are loopbacks.
func leadsOut(m *syscall.NetlinkMessage, loopback map[uint32]bool) bool {
	if m.Header.Type != unix.RTM_NEWROUTE || len(m.Data) < unix.SizeofRtMsg {
		return false
	}
	const offFamily, offBits, offType, offFlags = 0, 1, 7, 8 // struct rtmsg
	family, bits := m.Data[offFamily], int(m.Data[offBits])
	flags := binary.NativeEndian.Uint32(m.Data[offFlags:])
	if m.Data[offType] != unix.RTN_UNICAST || flags&(unix.RTNH_F_DEAD|unix.RTNH_F_LINKDOWN|unix.RTM_F_CLONED) != 0 {
		return false
	}
	if family != unix.AF_INET && family != unix.AF_INET6 {
		return false
	}
	attrs, err := syscall.ParseNetlinkRouteAttr(m)
	if err != nil {
		return false
	}
	for _, a := range attrs {
		switch a.Attr.Type {
		case unix.RTA_DST:
			if dst, ok := netip.AddrFromSlice(a.Value); ok && bits > 0 && (dst.IsLinkLocalUnicast() || dst.IsLoopback()) {
				return false
			}
		case unix.RTA_OIF:
			if len(a.Value) >= 4 && isLoopback(binary.NativeEndian.Uint32(a.Value), loopback) {
				return false
			}
		}
	}
	return true
}

func isLoopback(index uint32, known map[uint32]bool) bool {
	is, ok := known[index]
	if !ok {
		iface, err := net.InterfaceByIndex(int(index))
		is = err == nil && iface.Flags&net.FlagLoopback != 0
		known[index] = is
	}
	return is
}

// Changes returns a channel that gets a value after routes or links have changed, so that Online may have; changes that
// come faster than they are received become one. It is closed when ctx ends. Where the kernel cannot be listened to,
// Online is asked each few seconds instead. A network that becomes metered without a change of routes is not told.
func (c *Connectivity) Changes(ctx context.Context) <-chan struct{} {
	changed := make(chan struct{}, 1)
	listener, err := listenRoutes()
	if err != nil {
		go c.poll(ctx, changed)
		return changed
	}
	stop := context.AfterFunc(ctx, func() { listener.Close() })
	go func() {
		defer stop()
		defer listener.Close()
		readChanges(listener, changed)
		c.poll(ctx, changed) // ends at once where it was ctx that closed the socket
	}()
	return changed
}

// listenRoutes opens a netlink socket that is told of each change of links, addresses and routes (rtnetlink(7)).
func listenRoutes() (*os.File, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	groups := uint32(unix.RTMGRP_LINK | unix.RTMGRP_IPV4_IFADDR | unix.RTMGRP_IPV6_IFADDR | unix.RTMGRP_IPV4_ROUTE | unix.RTMGRP_IPV6_ROUTE)
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: groups}); err != nil {
		unix.Close(fd)
		return nil, os.NewSyscallError("bind", err)
	}
	return os.NewFile(uintptr(fd), "netlink"), nil // non-blocking: the runtime's poller waits, and Close wakes it
}

// readChanges tells of messages until the socket fails. What they say does not matter: Online reads the whole table.
func readChanges(listener *os.File, changed chan<- struct{}) {
	buf := make([]byte, 8<<10)
	for {
		_, err := listener.Read(buf)
		if err != nil && !errors.Is(err, unix.ENOBUFS) { // ENOBUFS: more changes came than the socket could hold
			return
		}
		notify(changed)
	}
}

func (c *Connectivity) poll(ctx context.Context, changed chan<- struct{}) {
	defer close(changed)
	ticker := time.NewTicker(pollEvery)
	defer ticker.Stop()
	for was := c.Online(); ; {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if is := c.Online(); is != was {
			was = is
			notify(changed)
		}
	}
}

func notify(changed chan<- struct{}) {
	select {
	case changed <- struct{}{}:
	default:
	}
}
