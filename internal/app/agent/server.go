package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/isthmus-cni/isthmus/internal/cniwire"
)

// server answers the CNI plugin.
type server struct {
	pods    *pods
	metrics *Metrics
	log     *slog.Logger
}

// listen makes the socket, for root only. What an agent before us left there is replaced.
func listen(path string) (*net.UnixListener, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("make the socket's directory: %w", err)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("remove the old socket: %w", err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o600); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// serve answers until ctx ends, and then returns when what was asked before is
// done: a pod that starts is not abandoned because we are replaced.
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

// now is for sockets' deadlines and for metrics; nothing is decided by it.
func now() time.Time {
	return time.Now() //nolint:forbidigo // see above
}

// receiveTime is how long a plugin may take to say what it wants.
const receiveTime = 5 * time.Second

func (s *server) answer(ctx context.Context, conn *net.UnixConn) {
	defer conn.Close()
	began := now()
	if err := conn.SetReadDeadline(began.Add(receiveTime)); err != nil {
		s.log.Warn("cannot bound the time of a request", "err", err)
		return
	}
	r, netns, err := cniwire.Receive(conn)
	if err != nil {
		s.log.Warn("cannot read a request of the CNI plugin", "err", err)
		s.reply(conn, cniwire.Response{Error: &cniwire.Error{Code: cniwire.CodeDecoding, Msg: "isthmus-agent cannot read the request", Details: err.Error()}})
		return
	}
	if netns != nil {
		defer netns.Close()
	}
	ctx, gone := whilePresent(ctx, conn)
	result, err := s.pods.ask(ctx, r, netns)
	gone()
	told := failure(r.Verb, err)
	s.metrics.asked(r.Verb, told, time.Since(began))
	s.tell(r, result, told, time.Since(began))
	s.reply(conn, cniwire.Response{Result: result, Error: told})
}

// whilePresent gives a context that ends when the plugin does: nobody waits
// for the answer then, and what was made must be undone. end stops the watch.
func whilePresent(ctx context.Context, conn *net.UnixConn) (_ context.Context, end func()) {
	ctx, cancel := context.WithCancel(ctx)
	// Without a deadline; end sets one to stop the read.
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

// tell logs once for each request: Info where the network changed.
func (s *server) tell(r cniwire.Request, result *cniwire.Result, told *cniwire.Error, took time.Duration) {
	log := s.log.With("verb", r.Verb, "container", r.Container, "unit", "pod/"+r.Namespace+"/"+r.Pod, "took", took.Round(time.Millisecond))
	switch {
	case told != nil:
		log.Warn("pod network request failed", "code", told.Code, "err", told)
	case r.Verb == cniwire.Add && len(result.Addresses) > 0:
		log.Info("pod plugged", "ip", result.Addresses[0].Prefix)
	case r.Verb == cniwire.Del:
		log.Info("pod unplugged")
	default:
		log.Debug("pod network request done")
	}
}

func (s *server) reply(conn *net.UnixConn, r cniwire.Response) {
	_ = conn.SetWriteDeadline(now().Add(receiveTime))
	if err := cniwire.Reply(conn, r); err != nil {
		s.log.Debug("the CNI plugin did not wait for the answer", "err", err)
	}
}
