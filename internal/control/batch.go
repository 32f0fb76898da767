package control

import (
	"bytes"
	"encoding/json"
	"slices"

	"github.com/urlsession/urlsession/internal/task"
)

// encode is what json.Marshal makes of the batch.
func (b *Batch) encode() ([]byte, error) {
	to := make([]byte, 0, specBytes*(1+len(b.Tasks)))
	to = append(to, '{')
	if b.Key != "" {
		key, err := json.Marshal(b.Key)
		if err != nil {
			return nil, err
		}
		to = append(append(append(to, `"key":`...), key...), ',')
	}
	to = append(to, `"tasks":[`...)
	for i := range b.Tasks {
		if i > 0 {
			to = append(to, ',')
		}
		var err error
		if to, err = b.Tasks[i].AppendJSON(to); err != nil {
			return nil, err
		}
	}
	return append(to, "]}"...), nil
}

// specBytes is about what a spec takes.
const specBytes = 512

// ScanJSON is task.Spec.ScanJSON of a batch of at most MaxBatch tasks that nothing follows: what encode writes.
func (b *Batch) ScanJSON(data []byte) bool {
	*b = Batch{}
	whole := b.scan(data)
	if !whole {
		*b = Batch{}
	}
	return whole
}

func (b *Batch) scan(data []byte) bool {
	data, ok := bytes.CutPrefix(data, []byte("{"))
	if rest, has := bytes.CutPrefix(data, []byte(`"key":`)); has {
		d := json.NewDecoder(bytes.NewReader(rest))
		if d.Decode(&b.Key) != nil {
			return false
		}
		data, ok = bytes.CutPrefix(rest[d.InputOffset():], []byte(","))
	}
	tasks, has := bytes.CutPrefix(data, []byte(`"tasks":[`))
	if !ok || !has {
		return false
	}
	for first := len(tasks); len(b.Tasks) < MaxBatch; {
		b.Tasks = append(b.Tasks, task.Spec{})
		if tasks, ok = b.Tasks[len(b.Tasks)-1].ScanJSON(tasks); !ok {
			return false
		}
		if len(b.Tasks) == 1 { // the others are about as long
			b.Tasks = slices.Grow(b.Tasks, min(MaxBatch, 1+len(tasks)/(first-len(tasks))))
		}
		if tasks, ok = bytes.CutPrefix(tasks, []byte(",")); !ok {
			return string(tasks) == "]}"
		}
	}
	return false
}
