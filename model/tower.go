package model

import "github.com/ringleader-dev/ringleader/device"

// tower: w.unit = l2( down( GELU( up(x) ) ) ).
func (p *pass) tower(w *towerSpace, x device.Mat, n mlp) {
	p.linearGELU(w.act, w.slope, x, n.up, device.Dropping{})
	p.linear(w.y, w.act, n.down)
	p.lane.L2Norm(w.unit, w.norm, w.y)
}

// towerBackward takes the gradient of w.unit from w.y, and writes that of x to dx, unless it is the zero Mat.
func (p *pass) towerBackward(dx device.Mat, w *towerSpace, x device.Mat, n mlp) {
	dact := within(p.ws.wide, w.act.Rows, w.act.Cols)
	p.lane.L2NormBackward(w.y, w.y, w.unit, w.norm)
	p.linearBackward(dact, w.y, w.act, n.down, w.slope)
	p.linearBackward(dx, dact, x, n.up, device.Mat{})
}

// finalNorm is the norm in front of the output tower.
func (p *pass) finalNorm() device.Norm { return p.norm(&p.ws.final, p.m.net.norm) }

// head turns the final norm of the last block's output into embeddings, in ws.output.unit.
func (p *pass) head() { p.tower(&p.ws.output, p.ws.final.y, p.m.net.output) }

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
