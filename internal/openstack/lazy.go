package openstack

import (
	"context"
	"sync/atomic"

	"golang.org/x/sync/semaphore"
)

// Lazy is a value that is created when it is first needed, for example the client of a
// fabric. Use NewLazy.
type Lazy[T any] struct {
	create func(context.Context) (*T, error)
	one    *semaphore.Weighted
	value  atomic.Pointer[T]
}

// NewLazy returns a Lazy that calls create when its value is first needed.
func NewLazy[T any](create func(context.Context) (*T, error)) *Lazy[T] {
	return &Lazy[T]{create: create, one: semaphore.NewWeighted(1)}
}

// Get returns the value. While there is none, one caller at a time creates it
// and the others wait; if that fails, the next caller tries. The error is
// create's, or ctx's if ctx ends while Get waits.
func (l *Lazy[T]) Get(ctx context.Context) (*T, error) {
	if v := l.value.Load(); v != nil {
		return v, nil
	}
	if err := l.one.Acquire(ctx, 1); err != nil {
		return nil, err
	}
	defer l.one.Release(1)
	if v := l.value.Load(); v != nil {
		return v, nil
	}
	v, err := l.create(ctx)
	if err != nil {
		return nil, err
	}
	l.value.Store(v)
	return v, nil
}

// Load returns the value, or nil if there is none yet.
func (l *Lazy[T]) Load() *T { return l.value.Load() }
