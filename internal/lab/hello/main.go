// Command hello is the program in the walkthroughs' pods. It answers with the pod's
// name: over HTTP on port 8080 and to any datagram on UDP port 9090. Arguments such as
// "tcp/80 udp/53" replace these ports. On a port such as "hook/8443" it serves an
// admission webhook. Under the name curl or udp it is a client of another hello. With
// the first argument "reach" it tries many addresses. It does not depend on the lab.
// It is linked dynamically and looks up names, like programs that have no static build.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// timeout limits each request.
const timeout = 5 * time.Second

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM) // process 1 has no default handler
	defer stop()
	var err error
	switch name := filepath.Base(os.Args[0]); {
	case name == "curl" && len(os.Args) > 1:
		err = get(ctx, os.Args[len(os.Args)-1], os.Stdout)
	case name == "udp" && len(os.Args) > 1:
		err = sendDatagram(ctx, os.Args[1], os.Stdout)
	case name == "curl" || name == "udp":
		err = errors.New("say whom to ask")
	case len(os.Args) > 1 && os.Args[1] == "reach":
		err = reachAll(ctx, os.Stdin, os.Stdout)
	case len(os.Args) > 1:
		err = serve(ctx, os.Args[1:]...)
	default:
		err = serve(ctx, "tcp/8080", "udp/9090")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func greeting() string {
	name, err := os.Hostname()
	if err != nil {
		name = err.Error()
	}
	return name + ": HELLO! I AM ALIVE!!!\n"
}

// serve answers on ports such as "tcp/80" until one of them fails, then it errs, or
// until ctx ends, then it returns nil.
func serve(ctx context.Context, ports ...string) error {
	failed := make(chan error, len(ports))
	for _, p := range ports {
		if err := listen(ctx, p, failed); err != nil {
			return err
		}
	}
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
		return nil
	}
}

// listen starts to answer on a port. It errs if it cannot listen. A later error goes to
// failed.
func listen(ctx context.Context, port string, failed chan<- error) error {
	var listen net.ListenConfig
	protocol, number, _ := strings.Cut(port, "/")
	if protocol == "udp" {
		datagrams, err := listen.ListenPacket(ctx, protocol, ":"+number)
		if err == nil {
			go func() { failed <- answerDatagrams(datagrams) }()
		}
		return err
	}
	stream, err := listen.Listen(ctx, "tcp", ":"+number)
	if err == nil {
		go func() { failed <- serveStream(stream, protocol) }()
	}
	return err
}

func serveStream(stream net.Listener, protocol string) error {
	if protocol == hook {
		return webhookServer().ServeTLS(stream, filepath.Join(tlsDir, "tls.crt"), filepath.Join(tlsDir, "tls.key"))
	}
	return greetingServer().Serve(stream)
}

func greetingServer() *http.Server {
	return &http.Server{
		ReadHeaderTimeout: timeout,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, greeting()) // a client that has gone needs no answer
		}),
	}
}

func answerDatagrams(c net.PacketConn) error {
	for b := make([]byte, 1500); ; {
		_, from, err := c.ReadFrom(b)
		if err != nil {
			return err
		}
		_, _ = c.WriteTo([]byte(greeting()), from) // UDP may lose an answer anyway
	}
}

// get writes the content of a URL to out. Without a scheme it uses http.
func get(ctx context.Context, url string, out io.Writer) error {
	if !strings.Contains(url, "://") {
		url = "http://" + url
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	client := &http.Client{Timeout: timeout}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	_, err = io.Copy(out, response.Body)
	return err
}

// sendDatagram sends one datagram to an address and writes the answer to out.
func sendDatagram(ctx context.Context, address string, out io.Writer) error {
	dialer := net.Dialer{Timeout: timeout}
	c, err := dialer.DialContext(ctx, "udp", address)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(timeout)); err != nil {
		return err
	}
	if _, err := io.WriteString(c, "who is there?"); err != nil {
		return err
	}
	b := make([]byte, 1500)
	n, err := c.Read(b)
	if err != nil {
		return err
	}
	_, err = out.Write(b[:n])
	return err
}
