package portpool

// The methods below are the pools' own, each under the lock, and wake the worker where
// that may give it something to do. None of them blocks on Neutron.

func (w *Worker) locked(do func(*pools)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	do(w.pools)
}

// Ask notes that a pod asks for such a port. With always its pool is kept filled
// however little it is used.
func (w *Worker) Ask(r Request, always bool) {
	defer w.Wake()
	w.locked(func(s *pools) { s.ask(r, always) })
}

// Obtain returns a ready port; false if there is none. The caller may have to change
// its security groups, or more if r asks for an address, before a pod gets it.
func (w *Worker) Obtain(r Request) (p Port, found bool) {
	defer w.Wake()
	w.locked(func(s *pools) { p, found = s.obtain(r) })
	return p, found
}

// Return gives a port back that a pod no longer needs; false if no pool has use for
// it: then the caller deletes it.
func (w *Worker) Return(p Port) (taken bool) {
	defer w.Wake()
	w.locked(func(s *pools) { taken = s.giveBack(p) })
	return taken
}

// Sync takes in the ports that were found in Neutron, and drops those that do not
// exist any more.
func (w *Worker) Sync(exists func(Port) bool, found []Port) {
	defer w.Wake()
	w.locked(func(s *pools) {
		s.keep(exists)
		s.add(found...)
	})
}

// Drain ends the selected pools. Their ports are deleted soon.
func (w *Worker) Drain(selected func(Key) bool) {
	defer w.Wake()
	w.locked(func(s *pools) { s.drain(selected) })
}

// Discard has a ready port deleted.
func (w *Worker) Discard(id string) {
	defer w.Wake()
	w.locked(func(s *pools) { s.discard(id) })
}

// Has tells whether a port is known, in whatever state.
func (w *Worker) Has(id string) (has bool) {
	w.locked(func(s *pools) { has = s.has(id) })
	return has
}

// GroupInUse tells whether a known port is in a security group.
func (w *Worker) GroupInUse(id string) (in bool) {
	w.locked(func(s *pools) { in = s.groupInUse(id) })
	return in
}

// AddressFree returns nil, or an intent.Wait while a port that cannot be handed out now
// has an address or the MAC that r asks for.
func (w *Worker) AddressFree(r Request) (err error) {
	w.locked(func(s *pools) { err = s.addressFree(r) })
	return err
}

// Pools are all pools, sorted by node and network.
func (w *Worker) Pools() (all []Status) {
	w.locked(func(s *pools) { all = s.byKey.status() })
	return all
}

// PoolPorts are the ports of a pool in the order in which they are handed out; nil if
// there is no such pool.
func (w *Worker) PoolPorts(k Key) (ports []PortStatus) {
	w.locked(func(s *pools) { ports = s.byKey.ports(k) })
	return ports
}
