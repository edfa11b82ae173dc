from engine.callables.base import step


@step("test.echo")
def echo(call):
    print("hello", call.step_id)
    return dict(call.params)


@step("test.spin")
def spin(call):
    while True:
        pass
