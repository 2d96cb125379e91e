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

// channels is how many commands can run in a guest at the same time. Each has
// its own console of the guest, a socket and a lock on this side, and an agent
// inside (root/inittab has as many).
const channels = 6

// Result is what a command in a guest left.
type Result struct {
	Stdout, Stderr []byte
	Code           int
}

// errBusy says that another process holds the channel.
var errBusy = errors.New("in use")

// Exec runs argv in the guest and waits for it. A deadline of ctx also ends the
// command in the guest (code 137). An exit code other than 0 is no error.
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

// run takes the first channel whose agent answers.
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

// openChannel fails at once if another process uses the channel: QEMU would let
// us connect and never read.
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

// hello returns when the agent answers. An agent that is still busy for a
// client that went away does not; nothing has been asked of it then that would
// run later. The line end before it closes whatever an interrupted writer left.
func (ch *channel) hello(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	_, err := ch.talk(ctx, fmt.Appendf(nil, "\nhello %s\n", ch.id))
	return err
}

// request sends the command and returns its result.
func (ch *channel) request(ctx context.Context, script string, stdin []byte) (Result, error) {
	limit := math.MaxInt32
	if deadline, ok := ctx.Deadline(); ok {
		limit = max(1, int(math.Ceil(time.Until(deadline).Seconds())))
	}
	fields, err := ch.talk(ctx, fmt.Appendf(nil, "run %s %d .%s .%s\n", ch.id, limit, encode([]byte(script)), encode(stdin)))
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

// talk writes and returns the fields after our id of the next line that has it.
func (ch *channel) talk(ctx context.Context, out []byte) ([]string, error) {
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

// decode undoes what the agent writes: a dot, so that nothing is a field too,
// and base64.
func decode(s string) ([]byte, error) {
	return base64.StdEncoding.DecodeString(strings.TrimPrefix(s, "."))
}
