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
