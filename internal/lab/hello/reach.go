package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
)

// replyTimeout limits one try. After it, the packet counts as dropped.
const replyTimeout = 1500 * time.Millisecond

// reachAll reads batches of lines such as "tcp 10.0.0.1 80", "udp 10.0.0.1 53" or
// "icmp 10.0.0.1 0". An empty line or the end of in ends a batch. reachAll tries all
// lines of a batch at the same time. Then it writes each line with "yes" or "no"
// appended, in the same order, and an empty line.
func reachAll(ctx context.Context, in io.Reader, out io.Writer) error {
	var lines []string
	s := bufio.NewScanner(in)
	for s.Scan() {
		if s.Text() != "" {
			lines = append(lines, s.Text())
			continue
		}
		if err := reachBatch(ctx, lines, out); err != nil {
			return err
		}
		lines = nil
	}
	if err := s.Err(); err != nil || len(lines) == 0 {
		return err
	}
	return reachBatch(ctx, lines, out)
}

func reachBatch(ctx context.Context, lines []string, out io.Writer) error {
	results := make([]string, len(lines))
	var all sync.WaitGroup
	for i, line := range lines {
		all.Go(func() { results[i] = line + " " + yesNo(reaches(ctx, line)) + "\n" })
	}
	all.Wait()
	_, err := io.WriteString(out, strings.Join(results, "")+"\n")
	return err
}

func yesNo(err error) string {
	if err == nil {
		return "yes"
	}
	return "no"
}

// reaches returns nil if the address of the line answers. A refused connection is an
// answer as well.
func reaches(ctx context.Context, line string) error {
	words := strings.Fields(line)
	if len(words) != 3 {
		return fmt.Errorf("%q is not PROTOCOL ADDRESS PORT", line)
	}
	ctx, cancel := context.WithTimeout(ctx, replyTimeout)
	defer cancel()
	var err error
	switch words[0] {
	case "icmp":
		err = ping(words[1])
	case "udp":
		err = tryUDP(ctx, net.JoinHostPort(words[1], words[2]))
	default:
		err = tryTCP(ctx, net.JoinHostPort(words[1], words[2]))
	}
	if errors.Is(err, syscall.ECONNREFUSED) {
		return nil
	}
	return err
}

func tryTCP(ctx context.Context, address string) error {
	var dialer net.Dialer
	c, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	return c.Close()
}

// tryUDP sends up to two datagrams, because the first may be lost during address
// resolution.
func tryUDP(ctx context.Context, address string) error {
	var dialer net.Dialer
	c, err := dialer.DialContext(ctx, "udp", address)
	if err != nil {
		return err
	}
	defer c.Close()
	b := make([]byte, 1500)
	for range 2 {
		if err = c.SetDeadline(time.Now().Add(replyTimeout / 2)); err != nil {
			return err
		}
		if _, err = io.WriteString(c, "who is there?"); err != nil {
			return err
		}
		if _, err = c.Read(b); err == nil {
			return nil
		}
	}
	return err
}

// ping sends an ICMP echo request and waits for the reply. The kernel delivers all
// replies to each such socket, so echo compares the sender.
func ping(address string) error {
	c, err := icmp.ListenPacket("ip4:icmp", "0.0.0.0")
	if err != nil {
		return err
	}
	defer c.Close()
	to := &net.IPAddr{IP: net.ParseIP(address)}
	request := icmp.Message{Type: ipv4.ICMPTypeEcho, Body: &icmp.Echo{ID: os.Getpid() & 0xffff, Seq: 1, Data: []byte("who is there?")}}
	bytes, err := request.Marshal(nil)
	if err != nil {
		return err
	}
	if _, err := c.WriteTo(bytes, to); err != nil {
		return err
	}
	if err := c.SetReadDeadline(time.Now().Add(replyTimeout)); err != nil {
		return err
	}
	return awaitReply(c, to.String())
}

func awaitReply(c *icmp.PacketConn, from string) error {
	for b := make([]byte, 1500); ; {
		n, peer, err := c.ReadFrom(b)
		if err != nil {
			return err
		}
		m, err := icmp.ParseMessage(1, b[:n])
		if err == nil && m.Type == ipv4.ICMPTypeEchoReply && peer.String() == from {
			return nil
		}
	}
}
