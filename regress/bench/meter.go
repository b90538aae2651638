package main

import (
	"time"

	"bdr/gosrc/pgtest"
)

// figures are what a workload cost in one variant.
type figures struct {
	Variant string             `json:"variant"`
	Wall    float64            `json:"wall"`   // seconds
	CPU     map[string]float64 `json:"cpu"`    // seconds, by role
	Memory  map[string]float64 `json:"memory"` // MB, by role: the peak of the largest process
	TPS     float64            `json:"tps,omitempty"`
	Lag     *lag               `json:"lag,omitempty"`
}

// meter measures the processes of a variant from newMeter to stop: CPU time by
// difference, memory by samples.
type meter struct {
	p       *pair
	v       variant
	began   time.Time
	before  map[int]float64 // CPU seconds by process id
	watched map[string][]*watched
	quit    chan struct{}
	ended   chan struct{}
}

// watched is the memory of one process.
type watched struct {
	process pgtest.Process
	peak    int // KB
}

// sampleInterval is that of memory. A sample is one small read per process.
const sampleInterval = 100 * time.Millisecond

func newMeter(p *pair, v variant) *meter {
	m := &meter{p: p, v: v, before: map[int]float64{}, watched: map[string][]*watched{}, quit: make(chan struct{}), ended: make(chan struct{})}
	for _, r := range v.roles {
		for _, process := range v.processes(p, r.name) {
			m.before[process.PID] = process.CPUSeconds()
		}
	}
	m.began = time.Now()
	go m.sample()
	return m
}

// sample looks for the processes of each role until there are some, as a
// release starts them, and again when one has ended.
func (m *meter) sample() {
	defer close(m.ended)
	ticker := time.NewTicker(sampleInterval)
	defer ticker.Stop()
	for {
		for _, r := range m.v.roles {
			m.look(r)
		}
		select {
		case <-m.quit:
			return
		case <-ticker.C:
		}
	}
}

func (m *meter) look(r role) {
	missing := len(m.watched[r.name]) == 0
	for _, w := range m.watched[r.name] {
		now := w.process.AnonymousNowKilobytes()
		w.peak = max(w.peak, now)
		missing = missing || now == 0
	}
	if !missing {
		return
	}
	m.watched[r.name] = nil
	for _, process := range m.v.processes(m.p, r.name) {
		m.watched[r.name] = append(m.watched[r.name], &watched{process, process.AnonymousNowKilobytes()})
	}
}

// stop ends the measurement now. The sampler sees counters that include pages
// shared with the postmaster and no code; what that differs from private
// memory does not change while a process works, and is added at the end.
func (m *meter) stop() figures {
	f := figures{Variant: m.v.name, Wall: time.Since(m.began).Seconds(), CPU: map[string]float64{}, Memory: map[string]float64{}}
	for _, r := range m.v.roles {
		for _, process := range m.v.processes(m.p, r.name) {
			f.CPU[r.name] += process.CPUSeconds() - m.before[process.PID]
		}
	}
	close(m.quit)
	<-m.ended
	for name, all := range m.watched {
		for _, w := range all {
			offset := w.process.PrivateKilobytes() - w.process.AnonymousNowKilobytes()
			f.Memory[name] = max(f.Memory[name], float64(w.peak+offset)/1024)
		}
	}
	return f
}
