// libp2p 3.3 needs Promise.withResolvers and Promise.try, which Node 20 lacks.
if (!Promise.withResolvers) {
  Promise.withResolvers = () => {
    let resolve, reject
    const promise = new Promise((a, b) => { resolve = a; reject = b })
    return { promise, resolve, reject }
  }
}
if (!Promise.try) {
  Promise.try = (run, ...rest) => new Promise(resolve => resolve(run(...rest)))
}
