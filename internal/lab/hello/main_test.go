package main

import (
	"bytes"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestAsk(t *testing.T) {
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	go func() { _ = answer(c) }()
	var got bytes.Buffer
	if err := ask(t.Context(), c.LocalAddr().String(), &got); err != nil || got.String() != greeting() {
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
