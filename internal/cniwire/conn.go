package cniwire

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// A frame is the length of a JSON document in four bytes, big endian, and the
// document. maxFrame limits, in bytes, how much memory a peer can make us allocate. A GC
// request that names 1,000 sandboxes needs about 100 kB.
const maxFrame = 4 << 20

const headerLen = 4

// ErrNoAgent is wrapped by the error of a Call that got no response.
var ErrNoAgent = errors.New("the node's isthmus-agent does not answer")

// Call sends a request with the pod's network namespace, which may be nil, and returns
// the agent's response. The error wraps ErrNoAgent if no agent listens, or if no response
// comes before ctx ends.
func Call(ctx context.Context, socket string, r Request, netns *os.File) (Response, error) {
	conn, err := dial(ctx, socket)
	if err != nil {
		return Response{}, fmt.Errorf("%w: %w", ErrNoAgent, err)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	if err := send(conn, r, netns); err != nil {
		return Response{}, fmt.Errorf("%w: %w", ErrNoAgent, err)
	}
	text, err := readFrame(conn, nil)
	if err != nil {
		return Response{}, fmt.Errorf("%w: %w", ErrNoAgent, errors.Join(err, ctx.Err()))
	}
	var answer Response
	if err := json.Unmarshal(text, &answer); err != nil {
		return Response{}, fmt.Errorf("decode the agent's answer: %w", err)
	}
	return answer, nil
}

func dial(ctx context.Context, socket string) (*net.UnixConn, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", socket)
	if err != nil {
		return nil, err
	}
	return conn.(*net.UnixConn), nil
}

// Receive reads one request and the pod's network namespace, which is nil if none was
// sent. The caller closes the namespace. Receive errs if the request is not valid.
func Receive(conn *net.UnixConn) (Request, *os.File, error) {
	header, netns, err := readHeader(conn)
	if err != nil {
		return Request{}, nil, err
	}
	text, err := readFrame(conn, header)
	if err == nil {
		var r Request
		if r, err = decode(text); err == nil {
			return r, netns, nil
		}
	}
	if netns != nil {
		netns.Close()
	}
	return Request{}, nil, err
}

// Reply sends the response.
func Reply(conn *net.UnixConn, r Response) error { return send(conn, r, nil) }

// send sends a frame. The file, which may be nil, is sent with the header, so that it
// arrives with the first byte.
func send(conn *net.UnixConn, message any, file *os.File) error {
	text, err := json.Marshal(message)
	if err != nil {
		return fmt.Errorf("encode: %w", err)
	}
	if len(text) > maxFrame {
		return fmt.Errorf("message of %d bytes is over the limit of %d", len(text), maxFrame)
	}
	header := binary.BigEndian.AppendUint32(nil, uint32(len(text)))
	var rights []byte
	if file != nil {
		rights = unix.UnixRights(int(file.Fd()))
	}
	if _, _, err := conn.WriteMsgUnix(header, rights, nil); err != nil {
		return fmt.Errorf("send: %w", err)
	}
	if _, err := conn.Write(text); err != nil {
		return fmt.Errorf("send: %w", err)
	}
	return nil
}

// readFrame returns a frame's document. It reads the header first if header is nil.
func readFrame(conn io.Reader, header []byte) ([]byte, error) {
	if header == nil {
		header = make([]byte, headerLen)
		if _, err := io.ReadFull(conn, header); err != nil {
			return nil, fmt.Errorf("receive: %w", err)
		}
	}
	size := binary.BigEndian.Uint32(header)
	if size > maxFrame {
		return nil, fmt.Errorf("message of %d bytes is over the limit of %d", size, maxFrame)
	}
	text := make([]byte, size)
	if _, err := io.ReadFull(conn, text); err != nil {
		return nil, fmt.Errorf("receive: %w", err)
	}
	return text, nil
}

// readHeader reads a frame's header and at most one file, which may be nil.
func readHeader(conn *net.UnixConn) ([]byte, *os.File, error) {
	header := make([]byte, headerLen)
	rights := make([]byte, unix.CmsgSpace(4*4))
	n, oobn, _, _, err := conn.ReadMsgUnix(header, rights)
	if err != nil {
		return nil, nil, fmt.Errorf("receive: %w", err)
	}
	file, err := oneFile(rights[:oobn])
	if err != nil {
		return nil, nil, err
	}
	if _, err := io.ReadFull(conn, header[n:]); err != nil {
		if file != nil {
			file.Close()
		}
		return nil, nil, fmt.Errorf("receive: %w", err)
	}
	return header, file, nil
}

// oneFile returns the file in a control message; nil if there is none. If there are
// several, it closes all of them and returns an error.
func oneFile(control []byte) (*os.File, error) {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return nil, fmt.Errorf("receive a file: %w", err)
	}
	var fds []int
	for _, m := range messages {
		if some, err := unix.ParseUnixRights(&m); err == nil {
			fds = append(fds, some...)
		}
	}
	if len(fds) == 0 {
		return nil, nil
	}
	if len(fds) > 1 {
		for _, fd := range fds {
			unix.Close(fd)
		}
		return nil, fmt.Errorf("%d files came with one request", len(fds))
	}
	return os.NewFile(uintptr(fds[0]), "netns"), nil
}
