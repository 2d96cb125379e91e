package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/isthmus-cni/isthmus/internal/cniwire"
)

// server answers the CNI plugin: it accepts connections, reads one request from
// each, has the plugger handle it, and writes one response.
type server struct {
	plugger *plugger
	metrics *Metrics
	log     *slog.Logger
}

// serve accepts connections until ctx ends. It returns when all accepted requests are
// handled, so that a new agent does not interrupt the start of a pod.
func (s *server) serve(ctx context.Context, l *net.UnixListener) error {
	var running sync.WaitGroup
	defer running.Wait()
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	for {
		conn, err := l.AcceptUnix()
		if ctx.Err() != nil {
			if err == nil {
				conn.Close()
			}
			return nil
		}
		if err != nil {
			return fmt.Errorf("accept on %s: %w", l.Addr(), err)
		}
		running.Go(func() { s.answer(context.WithoutCancel(ctx), conn) })
	}
}

// answer handles one connection. The request is a JSON message with the file
// descriptor of the pod's network namespace, which may be nil.
func (s *server) answer(ctx context.Context, conn *net.UnixConn) {
	defer conn.Close()
	began := now()
	if err := conn.SetReadDeadline(began.Add(receiveTimeout)); err != nil {
		s.log.Warn("setting the deadline of a CNI request failed", "err", err)
		return
	}
	r, netns, err := cniwire.Receive(conn)
	if err != nil {
		s.log.Warn("reading a CNI request failed", "err", err)
		s.reply(conn, cniwire.Response{Error: &cniwire.Error{Code: cniwire.CodeDecoding, Msg: "isthmus-agent cannot read the request", Details: err.Error()}})
		return
	}
	if netns != nil {
		defer netns.Close()
	}
	ctx, stop := untilHangup(ctx, conn)
	result, err := s.plugger.handle(ctx, r, netns)
	stop()
	failure := cniError(r.Verb, err)
	s.metrics.observe(r.Verb, failure, time.Since(began))
	s.logRequest(r, result, failure, time.Since(began))
	s.reply(conn, cniwire.Response{Result: result, Error: failure})
}

// untilHangup returns a context that ends when the plugin closes the connection. The
// plugin then no longer waits for the answer, and the plugger undoes its steps. The
// caller must call stop, which ends the watch.
func untilHangup(ctx context.Context, conn *net.UnixConn) (_ context.Context, stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	// The read below has no deadline until stop sets one in the past.
	_ = conn.SetReadDeadline(time.Time{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		var one [1]byte
		if _, err := conn.Read(one[:]); errors.Is(err, io.EOF) {
			cancel()
		}
	}()
	return ctx, func() {
		_ = conn.SetReadDeadline(time.Unix(1, 0))
		<-done
		cancel()
	}
}

// logRequest logs a request once, at Info if the request changed the network.
func (s *server) logRequest(r cniwire.Request, result *cniwire.Result, failure *cniwire.Error, took time.Duration) {
	log := s.log.With("verb", r.Verb, "container", r.Container, "unit", "pod/"+r.Namespace+"/"+r.Pod, "took", took.Round(time.Millisecond))
	switch {
	case failure != nil:
		log.Warn("CNI request failed", "code", failure.Code, "err", failure)
	case r.Verb == cniwire.Add && len(result.Addresses) > 0:
		log.Info("pod plugged", "ip", result.Addresses[0].Prefix)
	case r.Verb == cniwire.Del:
		log.Info("pod unplugged")
	default:
		log.Debug("CNI request handled")
	}
}

func (s *server) reply(conn *net.UnixConn, r cniwire.Response) {
	_ = conn.SetWriteDeadline(now().Add(receiveTimeout))
	if err := cniwire.Reply(conn, r); err != nil {
		s.log.Debug("CNI plugin closed the connection before the answer", "err", err)
	}
}

// receiveTimeout bounds the time that the plugin may take to send its request, and to
// read the response.
const receiveTimeout = 5 * time.Second

// now is used for the deadlines of sockets and for metrics; no decision depends on it.
func now() time.Time {
	return time.Now() //nolint:forbidigo // see above
}
