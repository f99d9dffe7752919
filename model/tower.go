package model

import "github.com/ringleader-dev/ringleader/device"

// tower: w.unit = l2( down( GELU( up(x) ) ) ).
func (p *pass) tower(w *towerSpace, x device.Mat, n mlp) {
	p.linear(w.up, x, n.up)
	p.lane.GELU(w.act, w.up)
	p.linear(w.y, w.act, n.down)
	p.lane.L2Norm(w.unit, w.norm, w.y)
}

// towerBackward takes the gradient of w.unit from w.y, and writes that of x to dx, unless it is the zero Mat.
func (p *pass) towerBackward(dx device.Mat, w *towerSpace, x device.Mat, n mlp) {
	dact := within(p.ws.wide, w.up.Rows, w.up.Cols)
	p.lane.L2NormBackward(w.y, w.y, w.unit, w.norm)
	p.linearBackward(dact, w.y, w.act, n.down)
	p.lane.GELUBackward(dact, dact, w.up)
	p.linearBackward(dx, dact, x, n.up)
}

// head turns the last block's output into embeddings, in ws.output.unit.
func (p *pass) head(x device.Mat) {
	p.norm(&p.ws.final, x, p.m.net.norm)
	p.tower(&p.ws.output, p.ws.final.y, p.m.net.output)
}

// headBackward writes the gradient of x to ws.dx.
func (p *pass) headBackward(x device.Mat) {
	p.towerBackward(p.ws.dtmp, &p.ws.output, p.ws.final.y, p.m.net.output)
	p.lane.Zero(p.ws.dx.Data.Addr, p.ws.dx.Data.Bytes())
	p.normBackward(p.ws.dx, p.ws.dtmp, x, &p.ws.final, p.m.net.norm)
}

// itemTower embeds the items of ws.goal, in ws.items.unit.
func (p *pass) itemTower() {
	p.itemVectors(p.ws.vector, p.ws.goal.items)
	p.tower(&p.ws.items, p.ws.vector, p.m.net.items)
}

// itemTowerBackward ends at the item vectors, which are frozen.
func (p *pass) itemTowerBackward() {
	p.towerBackward(device.Mat{}, &p.ws.items, p.ws.vector, p.m.net.items)
}
