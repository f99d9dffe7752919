// Streams and events. Nothing runs beside the threads of the host: work happens when it is issued, or, if the configuration says
// late, when somebody waits for it. So a program that does not wait for what it needs goes wrong every time.
#include "driver.h"

#include <chrono>

#include "configuration.h"
#include "fault.h"

using namespace emulation;

namespace emulation {
// do_one does the oldest work of a stream.
static CUresult do_one(CUstream stream) {
  Work work = std::move(stream->work.front());
  stream->work.pop_front();
  Context *context = stream->context;
  if (!context->broken) context->broken = work();
  stream->done++;
  return context->broken;
}

// reach does work of a stream until so many pieces are done.
static CUresult reach(CUstream stream, unsigned long long at) {
  while (stream->done < at) do_one(stream);
  return stream->context->broken;
}

CUresult finish(Context *context, CUstream stream) { return stream ? reach(stream, stream->issued) : finish_all(context); }

CUresult finish_all(Context *context) {
  for (auto stream : context->streams) reach(stream, stream->issued);
  return context->broken;
}

// Work of the default stream waits for all others, and they for it: it is done at once.
CUresult submit(Context *context, CUstream stream, Work work) {
  if (context->broken) return context->broken;
  if (!stream) {
    for (auto other : context->streams)
      if (!(other->flags & CU_STREAM_NON_BLOCKING)) reach(other, other->issued);
    if (!context->broken) context->broken = work();
    return context->broken;
  }
  if (!context->streams.count(stream)) {
    report("work for a stream that was destroyed, or is of another context");
    return CUDA_ERROR_INVALID_HANDLE;
  }
  stream->work.push_back(std::move(work));
  stream->issued++;
  return configuration().late ? CUDA_SUCCESS : reach(stream, stream->issued);
}

static double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

static bool known(Context *context, CUstream stream) { return !stream || context->streams.count(stream); }
} // namespace emulation

CUresult CUDAAPI cuStreamCreateWithPriority(CUstream *stream, unsigned flags, int priority) {
  Call call;
  if (call.refused) return call.refused;
  *stream = new CUstream_st{call.context, flags, priority, {}};
  call.context->streams.insert(*stream);
  return CUDA_SUCCESS;
}

CUresult CUDAAPI cuStreamCreate(CUstream *stream, unsigned flags) { return cuStreamCreateWithPriority(stream, flags, 0); }

CUresult CUDAAPI cuStreamDestroy(CUstream stream) {
  Call call;
  if (!call.context || !stream || !call.context->streams.count(stream)) return CUDA_ERROR_INVALID_HANDLE;
  finish(call.context, stream);
  call.context->streams.erase(stream);
  delete stream;
  return call.refused;
}

CUresult CUDAAPI cuStreamSynchronize(CUstream stream) {
  Call call;
  if (call.refused) return call.refused;
  return known(call.context, stream) ? finish(call.context, stream) : CUDA_ERROR_INVALID_HANDLE;
}

// Asking is progress: who asks until it is done comes to an end.
CUresult CUDAAPI cuStreamQuery(CUstream stream) {
  Call call;
  if (call.refused) return call.refused;
  if (!stream) return finish_all(call.context);
  if (!call.context->streams.count(stream)) return CUDA_ERROR_INVALID_HANDLE;
  if (stream->work.empty()) return CUDA_SUCCESS;
  CUresult result = do_one(stream);
  return result ? result : stream->work.empty() ? CUDA_SUCCESS : CUDA_ERROR_NOT_READY;
}

CUresult CUDAAPI cuStreamWaitEvent(CUstream stream, CUevent event, unsigned) {
  Call call;
  if (call.refused) return call.refused;
  if (!call.context->events.count(event)) return CUDA_ERROR_INVALID_HANDLE;
  CUstream of = event->stream;
  auto at = event->at;
  if (!of) return CUDA_SUCCESS;
  return submit(call.context, stream, [=] { return of->context->streams.count(of) ? reach(of, at) : CUDA_SUCCESS; });
}

CUresult CUDAAPI cuStreamGetPriority(CUstream stream, int *priority) { return *priority = stream ? stream->priority : 0, CUDA_SUCCESS; }
CUresult CUDAAPI cuStreamGetFlags(CUstream stream, unsigned *flags) { return *flags = stream ? stream->flags : 0, CUDA_SUCCESS; }

CUresult CUDAAPI cuCtxGetStreamPriorityRange(int *least, int *greatest) { return *least = 0, *greatest = -5, CUDA_SUCCESS; }

CUresult CUDAAPI cuLaunchHostFunc(CUstream stream, CUhostFn function, void *argument) {
  Call call;
  if (call.refused) return call.refused;
  return submit(call.context, stream, [=] { return function(argument), CUDA_SUCCESS; });
}

CUresult CUDAAPI cuEventCreate(CUevent *event, unsigned) {
  Call call;
  if (call.refused) return call.refused;
  *event = new CUevent_st{call.context};
  call.context->events.insert(*event);
  return CUDA_SUCCESS;
}

CUresult CUDAAPI cuEventDestroy(CUevent event) {
  Call call;
  if (!call.context || !call.context->events.count(event)) return CUDA_ERROR_INVALID_HANDLE;
  if (event->stream && call.context->streams.count(event->stream)) reach(event->stream, event->at); // its time is still to be written
  call.context->events.erase(event);
  delete event;
  return CUDA_SUCCESS;
}

CUresult CUDAAPI cuEventRecord(CUevent event, CUstream stream) {
  Call call;
  if (call.refused) return call.refused;
  if (!call.context->events.count(event) || !known(call.context, stream)) return CUDA_ERROR_INVALID_HANDLE;
  if (event->stream && call.context->streams.count(event->stream)) reach(event->stream, event->at);
  event->stream = stream;
  event->at = stream ? stream->issued + 1 : 0;
  return submit(call.context, stream, [=] { return event->seconds = now(), CUDA_SUCCESS; });
}

CUresult CUDAAPI cuEventSynchronize(CUevent event) {
  Call call;
  if (call.refused) return call.refused;
  if (!call.context->events.count(event)) return CUDA_ERROR_INVALID_HANDLE;
  return event->stream && call.context->streams.count(event->stream) ? reach(event->stream, event->at) : CUDA_SUCCESS;
}

CUresult CUDAAPI cuEventQuery(CUevent event) {
  Call call;
  if (call.refused) return call.refused;
  if (!call.context->events.count(event)) return CUDA_ERROR_INVALID_HANDLE;
  CUstream stream = event->stream;
  if (!stream || !call.context->streams.count(stream) || stream->done >= event->at) return CUDA_SUCCESS;
  CUresult result = do_one(stream);
  return result ? result : stream->done >= event->at ? CUDA_SUCCESS : CUDA_ERROR_NOT_READY;
}

CUresult CUDAAPI cuEventElapsedTime(float *milliseconds, CUevent from, CUevent to) {
  Call call;
  if (call.refused) return call.refused;
  if (!from->seconds || !to->seconds) return CUDA_ERROR_NOT_READY;
  return *milliseconds = static_cast<float>((to->seconds - from->seconds) * 1e3), CUDA_SUCCESS;
}
