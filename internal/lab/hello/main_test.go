package main

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestAsk(t *testing.T) {
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	go func() { _ = answerDatagrams(c) }()
	var got bytes.Buffer
	if err := sendDatagram(t.Context(), c.LocalAddr().String(), &got); err != nil || got.String() != greeting() {
		t.Errorf("%q, %v", got.String(), err)
	}
}

func TestGetNeedsNoScheme(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("yes")) }))
	defer s.Close()
	var got bytes.Buffer
	if err := get(t.Context(), s.Listener.Addr().String(), &got); err != nil || got.String() != "yes" {
		t.Errorf("%q, %v", got.String(), err)
	}
}

func TestReachTellsWhoAnswers(t *testing.T) {
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	go func() { _ = answerDatagrams(c) }()
	silent, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	here := httptest.NewServer(http.NotFoundHandler())
	defer here.Close()
	line := func(protocol string, a net.Addr) string {
		_, port, _ := net.SplitHostPort(a.String())
		return protocol + " 127.0.0.1 " + port
	}
	in := line("udp", c.LocalAddr()) + "\n" + line("udp", silent.LocalAddr()) + "\n\n" + line("tcp", here.Listener.Addr()) + "\n"
	var out bytes.Buffer
	if err := reachAll(t.Context(), strings.NewReader(in), &out); err != nil {
		t.Fatal(err)
	}
	want := line("udp", c.LocalAddr()) + " yes\n" + line("udp", silent.LocalAddr()) + " no\n\n" + line("tcp", here.Listener.Addr()) + " yes\n\n"
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", out.String(), want)
	}
}

func TestAdmitRefusesByName(t *testing.T) {
	for name, want := range map[string]string{"refused-1": `"allowed":false,"status":{"message":"refused by `, "welcome": `"allowed":true`} {
		w := httptest.NewRecorder()
		body := `{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"u","name":"` + name + `"}}`
		admit(w, httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body)))
		if got := w.Body.String(); !strings.Contains(got, `"uid":"u"`) || !strings.Contains(got, want) {
			t.Errorf("%s: %s", name, got)
		}
	}
}

func TestReachReportsLongLine(t *testing.T) {
	in := strings.NewReader(strings.Repeat("x", bufio.MaxScanTokenSize+1))
	if err := reachAll(t.Context(), in, io.Discard); !errors.Is(err, bufio.ErrTooLong) {
		t.Errorf("got %v", err)
	}
}
