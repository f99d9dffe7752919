// Package model is PinnerFormer with the exact dense all-action loss, written once against device.Device in flat parameters.
//
// # The network
//
// T tokens (actions) of S users are packed without padding; H is the width, D the dimension of the embeddings, V that of the frozen item
// vectors. Every formula is of one token, rows are tokens:
//
//	a  = [ sqrt(V) vector | action | surface | .3 log(1+duration) | absolute time | time to the newest action | gap ]   [T, Din]
//	x0 = drop( input(a) + position[recency] )                           recency 0 is the newest action                 [T, H]
//	x  = x + drop( output( attention( norm1(x) ) ) )                    causal, inside a user, heads side by side      [T, H]
//	x  = x + drop( down( drop( GELU( up( norm2(x) ) ) ) ) )             L blocks of these two lines                    [T, H]
//	u  = l2( down( GELU( up( norm(x) ) ) ) )                            at every token; the newest one is served       [T, D]
//	v  = l2( down( GELU( up( sqrt(V) vector ) ) ) )                     of an item                                     [I, D]
//	score = <u, v> / tau,  tau = max( exp(log_temperature), .01 )
//
// A time of t seconds becomes cos and sin of 2 pi t/p + phase for fixed periods p with a learned phase each, and .1 log(1+t). The
// factor sqrt(V) gives item vectors of unit length unit variance in each lane. The gap of a window's oldest action is 0: what came before is outside.
//
// # The loss
//
// Token m of user b with time t predicts all positives of (t, t+K]: those at equal times are not in its future. With z_m the log-sum-exp of
// the scores of the shard's pool of negatives, without the user's own positives, and a_mj the score of a positive, each corrected by -log Q,
//
//	L = sum_b sum_m sum_j omega_mj softplus(z_m - a_mj)
//
// where the weights omega of a user add up to 1. L is a sum over users: whoever adds up the shards divides by the number of users that have a
// target. Its value and gradient are exact: nothing is sampled but the pool. The other objectives (see samplings) are the same sum over fewer, drawn pairs.
package model
