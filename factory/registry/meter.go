package registry

import (
	"io"
	"sync"

	"github.com/imagefactory/imagefactory/factory"
)

// meter adds up what was sent and reports it about a hundred times per push. A blob that is sent again counts anew, so
// the sum can go back.
type meter struct {
	events  factory.Events
	image   string
	message string
	total   int64

	mu   sync.Mutex
	sent map[factory.Digest]int64
	sum  int64
	last int64
}

// set says how much of a blob has arrived.
func (m *meter) set(d factory.Digest, n int64) {
	m.mu.Lock()
	if m.sent == nil {
		m.sent = map[factory.Digest]int64{}
	}
	m.sum += n - m.sent[d]
	m.sent[d] = n
	due := m.sum == m.total || m.sum < m.last || m.sum-m.last > m.total/100
	m.mu.Unlock()
	if due {
		m.report()
	}
}

func (m *meter) add(d factory.Digest, n int) {
	m.mu.Lock()
	at := m.sent[d] + int64(n)
	m.mu.Unlock()
	m.set(d, at)
}

func (m *meter) report() {
	m.mu.Lock()
	m.last = m.sum
	e := factory.Event{Kind: factory.Advanced, Image: m.image, Step: factory.StepPublish, Message: m.message, Current: m.sum, Total: m.total, Unit: "bytes"}
	m.mu.Unlock()
	m.events.Emit(e)
}

// counted tells the meter what was read.
type counted struct {
	io.ReadCloser
	digest factory.Digest
	meter  *meter
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	c.meter.add(c.digest, n)
	return n, err
}
