package signal

import "testing"

func TestManySetsWakeOnce(t *testing.T) {
	t.Parallel()
	s := New()
	s.Set()
	s.Set()
	<-s.C()
	select {
	case <-s.C():
		t.Error("two calls of Set woke twice")
	default:
	}
	s.Set()
	<-s.C()
}

func TestBroadcastWakesAll(t *testing.T) {
	t.Parallel()
	var b Broadcast
	b.Set() // no receiver waits
	one, two := b.Next(), b.Next()
	b.Set()
	<-one
	<-two
	select {
	case <-b.Next():
		t.Error("a receiver that came after Set was woken by it")
	default:
	}
}
