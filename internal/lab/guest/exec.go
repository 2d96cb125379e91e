package guest

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// channels is the number of commands that can run in a guest at the same time. Each channel
// has a console in the guest, a socket and a lock file on this side, and an agent inside
// (root/inittab has the same number).
const channels = 6

// Result is the output and the exit code of a command in a guest.
type Result struct {
	Stdout, Stderr []byte
	Code           int
}

// errBusy means that another process uses the channel.
var errBusy = errors.New("in use")

// Exec runs argv in the guest and returns its result. A deadline of ctx also ends the
// command in the guest, with code 137. Exec errs if the command could not be run, but not
// for an exit code other than 0.
func (c Config) Exec(ctx context.Context, name string, argv []string, stdin []byte) (Result, error) {
	if len(argv) == 0 {
		return Result{}, fmt.Errorf("exec in guest %s: no command", name)
	}
	words := make([]string, len(argv))
	for i, a := range argv {
		words[i] = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
	}
	script := "exec " + strings.Join(words, " ") + "\n"
	r, err := c.run(ctx, name, script, stdin)
	if err != nil {
		return Result{}, fmt.Errorf("exec in guest %s: %w", name, err)
	}
	return r, nil
}

// run runs a script over the first channel whose agent answers.
func (c Config) run(ctx context.Context, name, script string, stdin []byte) (Result, error) {
	var errs []error
	for i := range channels {
		ch, err := openChannel(ctx, c.vmDir(name), i)
		if err == nil {
			defer ch.close()
			if err = ch.hello(ctx); err == nil {
				return ch.request(ctx, script, stdin)
			}
		}
		errs = append(errs, fmt.Errorf("channel %d: %w", i, err))
		if ctx.Err() != nil {
			break
		}
	}
	return Result{}, fmt.Errorf("its agent does not answer: %w", errors.Join(errs...))
}

type channel struct {
	lock *os.File
	conn net.Conn
	in   *bufio.Reader
	id   string
}

func socketPath(dir string, i int) string { return filepath.Join(dir, fmt.Sprintf("agent%d.sock", i)) }

// openChannel locks a channel and connects to it. It returns errBusy at once if another
// process uses the channel: QEMU would accept the connection and never read from it.
func openChannel(ctx context.Context, dir string, i int) (*channel, error) {
	lock, err := os.OpenFile(filepath.Join(dir, fmt.Sprintf("agent%d.lock", i)), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = lock.Close()
		return nil, errBusy
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", socketPath(dir, i))
	if err != nil {
		_ = lock.Close()
		return nil, err
	}
	return &channel{lock: lock, conn: conn, in: bufio.NewReader(conn), id: rand.Text()}, nil
}

func (ch *channel) close() {
	_ = ch.conn.Close()
	_ = ch.lock.Close()
}

// hello returns nil if the agent answers within 2 s. An agent that still works for a client
// that has gone does not answer. hello contains no command, so nothing runs later in that
// case. The first line end completes a line that an interrupted writer may have left.
func (ch *channel) hello(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	_, err := ch.exchange(ctx, fmt.Appendf(nil, "\nhello %s\n", ch.id))
	return err
}

// request runs a script and returns its result.
func (ch *channel) request(ctx context.Context, script string, stdin []byte) (Result, error) {
	limit := math.MaxInt32
	if deadline, ok := ctx.Deadline(); ok {
		limit = max(1, int(math.Ceil(time.Until(deadline).Seconds())))
	}
	fields, err := ch.exchange(ctx, fmt.Appendf(nil, "run %s %d .%s .%s\n", ch.id, limit, encode([]byte(script)), encode(stdin)))
	if err != nil {
		return Result{}, err
	}
	return parseAnswer(fields)
}

func parseAnswer(fields []string) (Result, error) {
	if len(fields) != 3 {
		return Result{}, fmt.Errorf("the agent's answer has %d fields", len(fields))
	}
	code, err := strconv.Atoi(fields[0])
	stdout, err1 := decode(fields[1])
	stderr, err2 := decode(fields[2])
	return Result{stdout, stderr, code}, errors.Join(err, err1, err2)
}

// exchange writes out and waits for the next line that starts with the channel's id. It returns
// the fields after the id.
func (ch *channel) exchange(ctx context.Context, out []byte) ([]string, error) {
	if err := ch.conn.SetDeadline(time.Time{}); err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = ch.conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if _, err := ch.conn.Write(out); err != nil {
		return nil, errors.Join(ctx.Err(), err)
	}
	for {
		line, err := ch.in.ReadBytes('\n')
		if err != nil {
			return nil, errors.Join(ctx.Err(), err)
		}
		fields := strings.Fields(string(bytes.TrimSpace(line)))
		if len(fields) > 1 && fields[0] == ch.id {
			return fields[1:], nil
		}
	}
}

func encode(b []byte) string { return base64.StdEncoding.EncodeToString(b) }

// decode decodes a field of the agent: a dot, which makes empty data a field, and base64.
func decode(s string) ([]byte, error) {
	return base64.StdEncoding.DecodeString(strings.TrimPrefix(s, "."))
}
