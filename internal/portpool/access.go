package portpool

// The methods below call those of pools, each with the lock held, and wake the worker if
// that may create a task. None of them waits for Neutron.

func (w *Worker) locked(do func(*pools)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	do(w.pools)
}

// Ask notes that a pod asks for a port of a pool. With always, the pool is kept filled
// even if it is hardly used.
func (w *Worker) Ask(r Request, always bool) {
	defer w.Wake()
	w.locked(func(s *pools) { s.ask(r, always) })
}

// Obtain returns a ready port, and false if there is none. The caller may have to change
// its security groups, or more if r asks for an address, before a pod gets it.
func (w *Worker) Obtain(r Request) (p Port, found bool) {
	defer w.Wake()
	w.locked(func(s *pools) { p, found = s.obtain(r) })
	return p, found
}

// Return gives back a port that a pod no longer needs. It returns false if no pool needs
// the port; then the caller deletes it.
func (w *Worker) Return(p Port) (taken bool) {
	defer w.Wake()
	w.locked(func(s *pools) { taken = s.returnPort(p) })
	return taken
}

// Sync adds the ports that were found in Neutron, and drops those that no longer exist.
func (w *Worker) Sync(exists func(Port) bool, found []Port) {
	defer w.Wake()
	w.locked(func(s *pools) {
		s.keep(exists)
		s.add(found...)
	})
}

// Drain removes the selected pools. Their ports are deleted soon.
func (w *Worker) Drain(selected func(Key) bool) {
	defer w.Wake()
	w.locked(func(s *pools) { s.drain(selected) })
}

// Discard has a ready port deleted.
func (w *Worker) Discard(id string) {
	defer w.Wake()
	w.locked(func(s *pools) { s.discard(id) })
}

// Has reports whether a port is known, in any state.
func (w *Worker) Has(id string) (has bool) {
	w.locked(func(s *pools) { has = s.has(id) })
	return has
}

// GroupInUse reports whether a known port is in a security group.
func (w *Worker) GroupInUse(id string) (in bool) {
	w.locked(func(s *pools) { in = s.groupInUse(id) })
	return in
}

// AddressFree returns an intent.Wait while a port that cannot be handed out now has an
// address or the MAC that r asks for, else nil.
func (w *Worker) AddressFree(r Request) (err error) {
	w.locked(func(s *pools) { err = s.addressFree(r) })
	return err
}

// Pools returns the status of all pools, sorted by node and network.
func (w *Worker) Pools() (all []Status) {
	w.locked(func(s *pools) { all = s.byKey.status() })
	return all
}

// PoolPorts returns the ports of a pool in the order in which they are handed out, nil if
// there is no such pool.
func (w *Worker) PoolPorts(k Key) (ports []PortStatus) {
	w.locked(func(s *pools) { ports = s.byKey.ports(k) })
	return ports
}
