// Package offload turns off checksum offload of virtual interfaces, which have no
// hardware to compute checksums. It knows one ioctl, and not the interface's purpose.
package offload

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ethtoolValue is struct ethtool_value of linux/ethtool.h.
type ethtoolValue struct{ cmd, data uint32 }

// request is struct ifreq with the pointer member of its union.
type request struct {
	name [unix.IFNAMSIZ]byte
	data unsafe.Pointer
	_    [24 - unsafe.Sizeof(uintptr(0))]byte
}

// TxChecksumOff makes the kernel compute the checksums of packets that are sent through
// the interface, in the network namespace of the calling thread. The userspace datapath
// forwards packets as they are, so with offload on, ping works but TCP does not. It is
// no error if offload is off already.
func TxChecksumOff(name string) error {
	if len(name) >= unix.IFNAMSIZ {
		return fmt.Errorf("turn off checksum offload of %s: name too long", name)
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("turn off checksum offload of %s: %w", name, err)
	}
	defer unix.Close(fd)
	value := &ethtoolValue{cmd: unix.ETHTOOL_STXCSUM}
	r := request{data: unsafe.Pointer(value)}
	copy(r.name[:], name)
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&r))); errno != 0 {
		return fmt.Errorf("turn off checksum offload of %s: %w", name, errno)
	}
	return nil
}
